"""What one recipient sees of one event: its own names for everything, and no more than the compartments say.

- Ids are made for this recipient alone (HMAC under its key), so that two recipients who compare notes find
  nothing to compare. Its own local id is there where the crosswalk knows it; the sender's never is.
- Exact time and place are there only with `occurrence`; exact category and discloser only with `activity`,
  `clinical` or `legal`; else the type alone.

Pure: the same inputs give the same view.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from connectors.adapter import Names, Share, Vault
from consent import State, notices
from consent.untyped import NEVER_MS
from schemas import compartments, instant, sealing
from schemas.errors import Unsealable

NARROW: Final = frozenset({"activity", "clinical", "legal"})  # with one of these the exact category shows
SENDERS_OWN: Final = frozenset({"local_id"})  # how the sender knows the person: nobody else's business
SCOPE: Final = "attach-consent-scope"
SOURCE: Final = "urn:diversion-hub"  # in place of a discloser that does not show


def name(vault: Vault, stakeholder: str, kind: str, value: str) -> str:
    """A recipient's own name for something of the hub: of no use to anybody else. 32 hexadecimal digits."""
    return vault.mac(f"recipient:{stakeholder}", f"{kind}\0{value}".encode())[:32]


def idempotency_key(vault: Vault, stakeholder: str, adapter: str, event: str) -> str:
    """One for each event, recipient and adapter: every attempt carries it, so the recipient can count one."""
    return "d-" + name(vault, stakeholder, "delivery", f"{event}\0{adapter}")


def tells_who(shares: Iterable[Share]) -> bool:
    """Whether these let their recipient know who somebody is."""
    return any("subject" in share.compartments for share in shares)


def permitted(shares: Iterable[Share]) -> frozenset[str]:
    """The compartments of all shares together."""
    return frozenset(compartment for share in shares for compartment in share.compartments)


def opened(outbound: Mapping[str, Any], allowed: Iterable[str], vault: Vault) -> dict[str, dict[str, Any]]:
    """The fields of the allowed compartments, as the type's schema has them.

    In: a decoded `Outbound`. Out: compartment to fields, sorted by name. Raises `Erased` and `Unsealable`.
    """
    envelope = outbound["envelope"]
    sealer = vault.sealer(envelope["participant"])
    data: dict[str, dict[str, Any]] = {}
    names = sorted(set(allowed) & set(outbound["sealed"]))
    for compartment, bound in zip(names, sealing.aads(envelope, names), strict=True):
        plain = sealer.open(bound, outbound["sealed"][compartment])
        kind, inside, fields = compartments.decode(plain)
        if (kind, inside) != (envelope["type"], compartment):
            raise Unsealable("a seal holds another compartment than it says")
        kept = {key: value for key, value in fields.items() if key not in SENDERS_OWN}
        if kept:
            data[compartment] = kept
    return data


def scope_of(shares: Iterable[Share], state: State) -> list[dict[str, Any]]:
    """What the participant agreed to, as far as it lets this recipient have this: one line for each grant.

    `until` is the last instant of the consent (RFC 3339), None where only an event ends it; `said` is the
    line as a sentence, by language. Categories and labels of the grant are left out: they may say more than
    the recipient is to learn.
    """
    asked = [share for share in shares if SCOPE in share.obligations]
    if not asked:
        return []
    names = {grant for share in asked for grant in share.grants}
    lasting = {grant: (until, on_exit) for grant, until, on_exit in state.lasting(names)}
    return [
        _line(grant, share, *lasting[grant]) for share in asked for grant in share.grants if grant in lasting
    ]


def _line(grant: str, share: Share, expires_at: int, on_exit: bool) -> dict[str, Any]:
    until = None if expires_at >= NEVER_MS else expires_at
    return {
        "grant": grant,
        "purpose": share.purpose,
        "compartments": list(share.compartments),
        "until": None if until is None else instant.format(until),
        "said": notices.scopes(share.purpose, share.compartments, until, on_exit=on_exit),
    }


class Seen(NamedTuple):
    """What a recipient sees: `view` ready for JSON, and the same `fields` as the type's schema has them."""

    view: dict[str, Any]
    fields: dict[str, Any]


def seen(
    outbound: Mapping[str, Any],
    stakeholder: str,
    shares: Sequence[Share],
    scope: Sequence[Mapping[str, Any]],
    vault: Vault,
    names: Names,
) -> Seen:
    """The event as its recipient sees it.

    In: a decoded `Outbound`, what is permitted of it now, and the consent's scope (`scope_of`).
    Raises `Erased` and `Unsealable`.
    """
    envelope = outbound["envelope"]
    allowed = permitted(shares)
    exact = bool(allowed & NARROW)
    participant = envelope["participant"]
    shown: dict[str, Any] = {
        "id": name(vault, stakeholder, "event", envelope["id"]),
        "source": envelope["source"] if exact else SOURCE,
        "type": envelope["type"],
        "participant": name(vault, stakeholder, "participant", participant),
    }
    if exact:
        shown["category"] = envelope["category"]
    if "occurrence" in allowed:
        shown["time"] = instant.format(envelope["occurred_at"])
    if "subject" in allowed and (local_id := names.local_id(stakeholder, participant)) is not None:
        shown["local_id"] = local_id
    shown["purposes"] = sorted({share.purpose for share in shares})
    duties = {duty for share in shares for duty in share.obligations}
    shown["obligations"] = sorted(duties)
    shown["notices"] = [notice.as_json() for notice in notices.attached(duties)]
    shown["consent_scope"] = [
        {**line, "grant": name(vault, stakeholder, "grant", line["grant"])} for line in scope
    ]
    parts = opened(outbound, allowed, vault)
    rendered = ((part, compartments.render(envelope["type"], fields)) for part, fields in parts.items())
    shown["data"] = {part: fields for part, fields in rendered if fields}
    return Seen(shown, {field: value for fields in parts.values() for field, value in fields.items()})
