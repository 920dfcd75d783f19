"""What answers a subpoena or a consent: the records of one participant that one recipient may have for one
purpose on one ground, each decided now by the rule that decides everything else.

Pure, but for opening what is sealed: reading the log is the caller's.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from connectors import projection
from connectors.adapter import Names, Share, Vault
from connectors.recheck import event_of
from consent import Decision, Governance, State, decide
from consent.decision import INDETERMINATE
from consent.untyped import lineage
from schemas.errors import Erased, Unsealable

OTHER_GROUND: Final = "other-ground"
GONE: Final = "erased"
EVENTS_MAX: Final = 5_000  # of one export; shorter periods are asked for separately


class Scope(NamedTuple):
    """What is asked for. `ground` is the id of an order, an emergency or a consent. Times in epoch
    milliseconds, both included; no categories or types are all of them, a category is those below it too."""

    participant: str
    recipient: str
    purpose: str
    ground: str
    since: int
    until: int
    categories: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def covers(self, envelope: Mapping[str, Any]) -> bool:
        """Whether an event is asked for, whatever may be said of it."""
        return (
            envelope["participant"] == self.participant
            and self.since <= envelope["occurred_at"] <= self.until
            and (not self.types or envelope["type"] in self.types)
            and (not self.categories or any(one in self.categories for one in lineage(envelope["category"])))
        )

    def rests(self, decision: Decision) -> bool:
        """Whether a permit stands on the ground that was named."""
        return any(one.partition("/")[0] == self.ground for one in decision.grants)


class Piece(NamedTuple):
    """One record that goes out: the hub's own id of it, as the recipient sees it, and why it may."""

    event: str
    occurred_at: int
    view: Mapping[str, Any]
    decision: Decision


class Answer(NamedTuple):
    """What was found, oldest first; how many were left out, by reason; as of which instant and offsets."""

    scope: Scope
    at: int
    consent_offset: int
    governance_offset: int
    pieces: Sequence[Piece]
    left_out: Mapping[str, int]


def shown_ground(answer: Answer) -> str | None:
    """The ground as the recipient may know it: the id of an order or emergency, not of a consent."""
    other = {one.decision.basis for one in answer.pieces} - {"consent"}
    return answer.scope.ground if other else None


def answered(
    events: Iterable[Mapping[str, Any]],
    scope: Scope,
    at: int,
    state: State,
    governance: Governance,
    vault: Vault,
    crosswalk: Names,
) -> Answer:
    """Decides each event for the recipient and the purpose, and opens no more than that permits.

    In: decoded `Event` records; `at` in epoch milliseconds; the participant's state and governance as of now.
    """
    pieces: list[Piece] = []
    left_out: Counter[str] = Counter()
    for event in events:
        envelope = event["envelope"]
        if not scope.covers(envelope):
            continue
        decision = _decided(envelope, scope, at, state, governance)
        if decision.effect != "permit" or decision.basis is None:
            left_out[decision.reason] += 1
        elif not scope.rests(decision):
            left_out[OTHER_GROUND] += 1
        else:
            try:
                view = _seen(event, scope, decision, state, vault, crosswalk)
            except (Erased, Unsealable):
                left_out[GONE] += 1
                continue
            pieces.append(Piece(envelope["id"], envelope["occurred_at"], view, decision))
    pieces.sort(key=lambda one: (one.occurred_at, one.event))
    counted = dict(sorted(left_out.items()))
    return Answer(scope, at, state.offset, governance.offset, pieces, counted)


def _decided(
    envelope: Mapping[str, Any], scope: Scope, at: int, state: State, governance: Governance
) -> Decision:
    if governance.policy is None:
        return INDETERMINATE
    return decide(
        event_of(envelope),
        scope.recipient,
        scope.purpose,
        at,
        state,
        governance.policy,
        governance.stakeholders,
    )


def _seen(
    event: Mapping[str, Any],
    scope: Scope,
    decision: Decision,
    state: State,
    vault: Vault,
    crosswalk: Names,
) -> Mapping[str, Any]:
    basis = decision.basis or ""
    share = Share(
        "export", scope.purpose, basis, decision.grants, decision.compartments, decision.obligations
    )
    lines = projection.scope_of((share,), state)
    return projection.seen(event, scope.recipient, (share,), lines, vault, crosswalk).view


def recorded(answer: Answer, digest: str) -> dict[str, Any]:
    """What `access` keeps of an export: what left by which leave, and `digest`, of the package's hashes.

    Ids and codes alone; the accounting of disclosures is made of it.
    """
    scope = answer.scope
    return {
        "about": digest,
        "recipient": scope.recipient,
        "purpose": scope.purpose,
        "ground": scope.ground,
        "since": scope.since,
        "until": scope.until,
        "categories": list(scope.categories),
        "types": list(scope.types),
        "consent_offset": answer.consent_offset,
        "governance_offset": answer.governance_offset,
        "left_out": dict(answer.left_out),
        "events": [
            {
                "event": one.event,
                "basis": one.decision.basis,
                "grants": list(one.decision.grants),
                "compartments": list(one.decision.compartments),
            }
            for one in answer.pieces
        ],
    }
