"""The records of `deliveries`: what an owner means to do, did, did not do, and how much consent it knows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from connectors.adapter import Outcome, Share
from schemas import codec

TOPIC: Final = "deliveries"


class Applied(NamedTuple):
    """The last offset applied of a partition of `consent`, and of `governance`; -1 for none."""

    consent_offset: int
    governance_offset: int


class Parcel(NamedTuple):
    """Which delivery a record is about."""

    key: str
    stakeholder: str
    adapter: str
    event: str
    participant: str


def intent(
    parcel: Parcel,
    position: tuple[int, int],
    attempt: int,
    at: int,
    applied: Applied,
    shares: Sequence[Share],
) -> bytes:
    """ "I am about to hand this over." `position` is partition and offset in the outbox; `at` in epoch ms."""
    value = {
        **parcel._asdict(),
        **applied._asdict(),
        "outbox_partition": position[0],
        "outbox_offset": position[1],
        "attempt": attempt,
        "at": at,
        "shares": [share.as_dict() for share in shares],
    }
    return codec.encode("Delivery", {"intent": value})


def receipt(parcel: Parcel, attempt: int, outcome: Outcome, at: int, next_at: int | None) -> bytes:
    """ "So that attempt ended." `next_at` is when another one follows, if one does."""
    value = {
        **parcel._asdict(),
        "attempt": attempt,
        "outcome": outcome.state,
        "code": outcome.code,
        "at": at,
        "next_at": next_at,
    }
    return codec.encode("Delivery", {"receipt": value})


def withheld(parcel: Parcel, at: int, applied: Applied, reasons: Iterable[tuple[str, str]]) -> bytes:
    """ "This may no longer leave." `reasons` are (subscription, reason)."""
    value = {
        **parcel._asdict(),
        **applied._asdict(),
        "at": at,
        "reasons": [{"subscription": one, "reason": reason} for one, reason in reasons],
    }
    return codec.encode("Delivery", {"withheld": value})


def acknowledgement(
    stakeholders: Iterable[str], partition: int, applied: Applied, at: int, owner: str
) -> bytes:
    """ "For these outboxes' partition I have applied consent and governance so far." """
    value = {
        **applied._asdict(),
        "stakeholders": sorted(stakeholders),
        "partition": partition,
        "at": at,
        "owner": owner,
    }
    return codec.encode("Delivery", {"acknowledgement": value})


def ended(data: bytes) -> Mapping[str, Any] | None:
    """The receipt, where a record is one. Told by its first bytes; others are not decoded.

    In Avro an optional part is a 0 where it is missing and a 2 where it is there; `intent` comes first.
    """
    header = codec.header("Delivery")
    if data.startswith(header) and not data.startswith(header + b"\0\2"):
        return None
    receipt: Mapping[str, Any] | None = decode(data)["receipt"]
    return receipt


def decode(data: bytes) -> Mapping[str, Any]:
    """One of `intent`, `receipt`, `withheld` and `acknowledgement` is there, the others are None."""
    return codec.decode_as("Delivery", data)
