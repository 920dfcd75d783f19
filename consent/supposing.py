"""What would have been decided, had the participant said something else: one more directive, never written.

The directive is put behind those that were applied, and the same `decide` answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from consent.event import Event
from consent.record import Placed
from consent.terms import STATEMENTS
from consent.untyped import ALL, ALWAYS_MS, NEVER_MS, mapping, text
from schemas import instant

Kind = Literal["revoked", "restricted", "granted", "stood"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
NAME: Final = "supposed"  # what is supposed is called so; the hub makes no such ids


class Supposed(NamedTuple):
    """A hypothesis.

    `revoked`: the consent named was taken back, of `recipient` alone where one is given. `restricted`: the
    participant had said never, of that recipient. `granted`: they had agreed to just this disclosure.
    `stood`: the consent named stood as it was signed, whatever became of it, and whenever that was.
    """

    kind: Kind
    consent: str = ""
    recipient: str = ""


class NotOnRecord(ValueError):
    """The consent that the hypothesis speaks of is not among the participant's directives."""


def supposing(
    applied: Sequence[Placed],
    every: Sequence[Placed],
    supposed: Supposed,
    event: Event,
    purpose: str,
    at: int,
) -> list[Placed]:
    """The directives applied, and behind them the one that is supposed.

    In: those that the decision was made from, all there are now, and what is decided: about `event`, for the
    hypothesis's recipient and `purpose`, at an instant in epoch milliseconds. Raises `NotOnRecord`.
    """
    body: Mapping[str, Any]
    match supposed.kind:
        case "revoked":
            _given(applied, supposed.consent)
            parties = [supposed.recipient] if supposed.recipient else []
            body = {"type": "consent-revoked", "consent_id": supposed.consent, "recipients": parties}
        case "restricted":
            every_one = {name: [ALL] for name in ("purposes", "categories", "labels")}
            restriction = {"id": NAME, "recipients": [supposed.recipient], **every_one}
            body = {"type": "restriction-placed", "restriction": restriction}
        case "granted":
            body = _signed({"grants": [_just_this(supposed.recipient, event, purpose)]}, at)
        case "stood":
            body = _signed(_given(every, supposed.consent), at)
    offset = applied[-1].offset if applied else -1
    return [*applied, Placed(offset + 1, None, body)]


def _given(directives: Sequence[Placed], name: str) -> Mapping[object, object]:
    """A consent as it was signed: the first of that name, for a later one changes nothing."""
    for one in directives:
        body = mapping(one.body)
        consent = mapping(body.get("consent"))
        if body.get("type") == "consent-granted" and text(consent.get("id")) == name:
            return consent
    raise NotOnRecord(name)


def _signed(consent: Mapping[Any, Any], at: int) -> Mapping[str, Any]:
    """A consent with these grants that holds at that instant, under a name of its own."""
    return {
        "type": "consent-granted",
        "consent": {
            "id": NAME,
            "signed_at": instant.format(at),
            "starts_at": instant.format(at),
            "expires_at": instant.format(at),
            "signature": {"method": NAME, "reference": NAME},
            "statements": sorted(STATEMENTS),
            "grants": consent.get("grants"),
        },
    }


def _just_this(recipient: str, event: Event, purpose: str) -> dict[str, Any]:
    """A grant of this event, all of it, for this recipient and purpose, and of nothing else."""
    found: dict[str, Any] = {
        "id": NAME,
        "disclosers": [event.discloser],
        "recipients": [recipient],
        "purposes": [purpose],
        "categories": [event.category],
        "labels": list(event.labels),
        "compartments": list(event.compartments),
    }
    if ALWAYS_MS < event.occurred_at < NEVER_MS:
        day = instant.format(event.occurred_at)
        found |= {"data_from": day, "data_until": day}
    return found
