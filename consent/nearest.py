"""The nearest miss: how little stood between a denial and a permit, and what exactly.

Reads the participant's record plainly, one grant at a time, where deciding looks things up.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from consent.asked import Asked
from consent.decision import COUNSELLING_NOTES, PROCEEDINGS
from consent.record import Held, Record
from consent.stakeholder import Stakeholder
from consent.terms import Emergency, Grant, Order, Restriction
from consent.untyped import ALL, TREATING, lineage

DIMENSIONS: Final = (  # what comes first is told first
    "subpoena",
    "order-period",
    "emergency-period",
    "dedicated",
    "notes-dedicated",
    "category",
    "purpose",
    "recipient",
    "discloser",
    "label",
    "data-period",
    "signed",
    "not-started",
    "expired",
    "revoked",
)
_RANK: Final = {dimension: place for place, dimension in enumerate(DIMENSIONS)}


@dataclass(frozen=True, slots=True)
class Miss:
    """What came nearest, and all that it does not cover; with nothing left to miss, it covers the event.

    `kind` is `grant`, `order` or `emergency`; `id` is `consent_id/grant_id`, or an order's or emergency's id.
    `dimensions` are some of `DIMENSIONS`, in that order.
    """

    kind: str
    id: str
    dimensions: tuple[str, ...]
    held: Held | None = None
    grant: Grant | None = None

    @property
    def only(self) -> str | None:
        """The one thing that is missing, if it is one."""
        return self.dimensions[0] if len(self.dimensions) == 1 else None


def nearest(misses: Iterable[Miss], wanted: str | None = None) -> Miss | None:
    """The one that misses least; of equals the one told first, then the smallest id.

    With `wanted`, only those that miss this and nothing else.
    """
    chosen = [one for one in misses if wanted is None or one.dimensions == (wanted,)]
    return min(chosen, key=_nearness, default=None)


def _nearness(miss: Miss) -> tuple[int, list[int], str, str]:
    ranks = [_RANK[one] for one in miss.dimensions]
    return len(ranks), ranks, miss.kind, miss.id


def grants(asked: Asked, record: Record) -> Iterator[Miss]:
    """Every grant on record that could cover something, with what it lacks for this."""
    for held in record.consents.values():
        for grant in held.consent.grants:
            if grant.id is not None:
                lacking = set(_uncovered(asked, grant)) | set(_lapsed(asked, held, grant))
                name = f"{held.consent.id}/{grant.id}"
                yield Miss("grant", name, _ordered(lacking), held, grant)


def _uncovered(asked: Asked, grant: Grant) -> Iterator[str]:
    event = asked.event
    anybody = ALL in grant.disclosers and asked.discloser.agrees(asked.at)
    if event.discloser not in grant.disclosers and not anybody:
        yield "discloser"
    if not _lists(grant.recipients, asked.recipient):
        yield "recipient"
    if asked.purpose not in grant.purposes:
        yield "purpose"
    if not any(one in grant.categories for one in lineage(event.category)):
        yield "category"
    if not all(label in grant.labels for label in event.labels):
        yield "label"
    if not grant.data_from <= event.occurred_at <= grant.data_until:
        yield "data-period"


def _lapsed(asked: Asked, held: Held, grant: Grant) -> Iterator[str]:
    consent = held.consent
    if asked.purpose == PROCEEDINGS and not consent.form.proceedings:
        yield "dedicated"
    if COUNSELLING_NOTES in asked.event.labels and not consent.form.notes:
        yield "notes-dedicated"
    if consent.signed_at > asked.at:
        yield "signed"
    if consent.starts_at > asked.at:
        yield "not-started"
    if held.expires_at < asked.at:
        yield "expired"
    if held.revoked or grant.id in held.grants or _lists(held.parties, asked.recipient):
        yield "revoked"


def orders(asked: Asked, record: Record) -> Iterator[Miss]:
    """Every court order on record, with what it lacks for this."""
    for order in record.orders.values():
        yield Miss("order", order.id, _ordered(_beside(asked, order)))


def _beside(asked: Asked, order: Order) -> Iterator[str]:
    if order.recipient != asked.recipient.id:
        yield "recipient"
    if not any(one in order.categories for one in lineage(asked.event.category)):
        yield "category"
    if not order.starts_at <= asked.at <= order.expires_at:
        yield "order-period"
    if not order.subpoena:
        yield "subpoena"


def emergencies(asked: Asked, record: Record) -> Iterator[Miss]:
    """Every emergency on record, with what it lacks for this."""
    for one in record.emergencies.values():
        yield Miss("emergency", one.id, _ordered(_elsewhere(asked, one)))


def _elsewhere(asked: Asked, emergency: Emergency) -> Iterator[str]:
    if emergency.recipient != asked.recipient.id:
        yield "recipient"
    if not emergency.declared_at <= asked.at <= emergency.expires_at:
        yield "emergency-period"


def restrictions(asked: Asked, record: Record) -> list[Restriction]:
    """The participant's restrictions that match, by id."""
    matching = [one for one in record.restrictions.values() if _forbids(asked, one)]
    return sorted(matching, key=lambda one: one.id)


def _forbids(asked: Asked, one: Restriction) -> bool:
    return (
        (ALL in one.recipients or _lists(one.recipients, asked.recipient))
        and (ALL in one.purposes or asked.purpose in one.purposes)
        and (ALL in one.categories or any(some in one.categories for some in lineage(asked.event.category)))
        and (ALL in one.labels or any(label in one.labels for label in asked.event.labels))
    )


def _lists(names: Iterable[str], recipient: Stakeholder) -> bool:
    listed = frozenset(names)
    return recipient.id in listed or (TREATING in listed and recipient.in_class)


def _ordered(dimensions: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(dimensions, key=_RANK.__getitem__))
