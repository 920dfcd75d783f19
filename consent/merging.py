"""What one participant's record asks of another's, once both turn out to be one person: every no, no yes.

A restriction is carried as it stands. A revocation cannot be, for it names a consent of its own record: it
becomes a restriction on whatever it took back, unless the same record has another grant that gives at least
as much for at least as long (a form that was replaced by a new one). What a restriction cannot say, discloser
and period, it leaves out, and so forbids more, never less.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from consent.record import Held, Record
from consent.terms import Grant
from consent.untyped import ALL, TREATING


class Never(NamedTuple):
    """The terms of a restriction that is yet to get its id."""

    recipients: tuple[str, ...]
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    labels: tuple[str, ...]


def carried(record: Record) -> tuple[Never, ...]:
    """What another record has to forbid so that it permits nothing that is restricted or revoked here.

    Each once, in a fixed order. Orders and emergencies stand above restrictions, there as here.
    """
    found = [Never(*restriction[1:]) for restriction in record.restrictions.values()]
    held = list(record.consents.values())
    for one in held:
        for grant in one.consent.grants:
            recipients = [
                name for name in _taken_back(one, grant) if not _given_again(name, one, grant, held)
            ]
            if recipients:
                found.append(Never(tuple(recipients), grant.purposes, grant.categories, (ALL,)))
    return tuple(sorted(set(found)))


def _taken_back(held: Held, grant: Grant) -> Iterable[str]:
    """The recipients of a grant from whom it was taken back; the class may be among them."""
    if held.revoked or grant.id in held.grants:
        return grant.recipients
    in_class = TREATING in grant.recipients
    return sorted(name for name in held.parties if name in grant.recipients or in_class or name == TREATING)


def _given_again(name: str, held: Held, grant: Grant, others: Iterable[Held]) -> bool:
    """Whether another grant of the record reaches this recipient with all that this one gave, as long."""
    return any(
        not other.revoked
        and other.consent.signed_at <= held.consent.signed_at
        and other.consent.starts_at <= held.consent.starts_at
        and other.expires_at >= held.expires_at
        and (held.consent.on_exit or not other.consent.on_exit)
        and other.consent.form.proceedings >= held.consent.form.proceedings
        and other.consent.form.notes >= held.consent.form.notes
        and name not in other.parties
        and TREATING not in other.parties
        and any(_reaches(name, more, grant) for more in _left(other))
        for other in others
    )


def _left(held: Held) -> Iterator[Grant]:
    return (grant for grant in held.consent.grants if grant.id is not None and grant.id not in held.grants)


def _reaches(name: str, more: Grant, grant: Grant) -> bool:
    return (
        name in more.recipients
        and set(grant.disclosers) <= set(more.disclosers)
        and set(grant.purposes) <= set(more.purposes)
        and set(grant.labels) <= set(more.labels)
        and more.data_from <= grant.data_from
        and more.data_until >= grant.data_until
        and all(_covered(category, more.categories) for category in grant.categories)
    )


def _covered(category: str, by: Iterable[str]) -> bool:
    return any(category == one or category.startswith(f"{one}.") for one in by)
