"""The second decision: what was permitted on its way into an outbox, is it still, now that it would leave?"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from connectors.adapter import Share
from consent import Event, Governance, State, decide
from consent.decision import INDETERMINATE

PAUSED: Final = "paused"  # in a subscription's settings: the operator lets deliveries wait


class Verdict(NamedTuple):
    """What may leave now by one adapter, and what no longer may.

    `shares` empty means that nothing leaves. `withheld` is (subscription, reason). `settings` are those of
    the first subscription that shares.
    """

    shares: tuple[Share, ...]
    withheld: tuple[tuple[str, str], ...]
    settings: Mapping[str, Any]


def event_of(envelope: Mapping[str, Any]) -> Event:
    """What a decision looks at, from a decoded envelope."""
    return Event(
        envelope["id"],
        envelope["participant"],
        envelope["type"],
        envelope["category"],
        tuple(envelope["labels"]),
        envelope["discloser"],
        envelope["occurred_at"],
        tuple(envelope["compartments"]),
    )


def adapters(outbound: Mapping[str, Any], governance: Governance) -> dict[str, Mapping[str, Any]]:
    """By which adapters a record goes out, one delivery each; none where no subscription is left.

    Out: each adapter, sorted, with the settings of its first subscription.
    """
    envelope = outbound["envelope"]
    wanting = {one.id: one for one in governance.wanting(envelope["category"], envelope["discloser"])}
    shared = sorted(share["subscription"] for share in outbound["shares"] if share["subscription"] in wanting)
    named: dict[str, Mapping[str, Any]] = {}
    for subscription in shared:
        named.setdefault(wanting[subscription].adapter, wanting[subscription].settings)
    return dict(sorted(named.items()))


def paused(governance: Governance) -> frozenset[tuple[str, str]]:
    """Which recipients, each by which adapter, are to get nothing for now. Their deliveries wait."""
    every = governance.subscriptions.values()
    return frozenset((one.stakeholder, one.adapter) for one in every if PAUSED in one.settings)


def recheck(
    envelope: Mapping[str, Any],
    then: Sequence[Mapping[str, Any]],
    stakeholder: str,
    adapter: str,
    at: int,
    state: State,
    governance: Governance,
) -> Verdict:
    """Permitted then and permitted now, share by share, with the compartments that both allow.

    In: the decoded envelope and the shares of an outbox record; `at` in epoch milliseconds; the participant's
    state and the governance as applied so far. A share is as good as its subscription: where that is gone, or
    has another stakeholder or purpose by now, it is withheld.
    """
    event = event_of(envelope)
    wanting = {one.id: one for one in governance.wanting(envelope["category"], envelope["discloser"])}
    shares: list[Share] = []
    withheld: list[tuple[str, str]] = []
    settings: Mapping[str, Any] | None = None
    for share in sorted(then, key=lambda one: str(one["subscription"])):
        subscription = wanting.get(share["subscription"])
        if (
            subscription is None
            or subscription.stakeholder != stakeholder
            or subscription.purpose != share["purpose"]
        ):
            withheld.append((share["subscription"], "no-subscription"))
            continue
        if subscription.adapter != adapter:
            continue  # another delivery's
        now = (
            decide(
                event, stakeholder, share["purpose"], at, state, governance.policy, governance.stakeholders
            )
            if governance.policy is not None
            else INDETERMINATE
        )
        both = tuple(sorted(set(now.compartments) & set(share["compartments"])))
        if now.effect != "permit" or now.basis is None or not both:
            withheld.append(
                (share["subscription"], now.reason if now.effect == "deny" else "nothing-shareable")
            )
            continue
        shares.append(
            Share(share["subscription"], share["purpose"], now.basis, now.grants, both, now.obligations)
        )
        settings = subscription.settings if settings is None else settings
    return Verdict(tuple(shares), tuple(withheld), settings or {})
