"""What admit notes to be counted, in coarse words, where it sees an event in the clear anyway. Pure.

They stand in the compartment `equity`, which is in no row of the role matrix and so never delivered. The
aggregate stage opens that and `occurrence` alone: it never sees a birth date, a charge, or a narrative.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final

from schemas.events import Published
from schemas.fields import plain

FIELD: Final = "tallies"
COMPARTMENT: Final = "equity"
AGES: Final = (("0-17", 18), ("18-24", 25), ("25-34", 35), ("35-44", 45), ("45-54", 55), ("55-64", 65))
OLDEST: Final = "65-and-over"
HOUR_MS: Final = 3_600_000
HANDOFFS: Final = (("within-1-hour", 1), ("within-1-day", 24), ("within-1-week", 7 * 24))
LATEST: Final = "later"
NOT_FILED: Final = frozenset(  # what courts and prosecutors write, as `schemas.fields.plain` has it
    {
        *("not filed", "charge not filed", "charges not filed", "no charges filed", "no charge filed"),
        *("declined", "declined to file", "filing declined", "prosecution declined", "no complaint"),
    }
)


def noted(published: Published) -> dict[str, dict[str, Any]]:
    """The event's compartments with what is to be counted of it; as they were, where nothing is."""
    found = words(published.compartments, published.occurred_at)
    if not found:
        return published.compartments
    equity = {**published.compartments.get(COMPARTMENT, {}), FIELD: found}
    return {**published.compartments, COMPARTMENT: equity}


def words(compartments: Mapping[str, Mapping[str, Any]], occurred_at: int) -> list[str]:
    """The words of an event's compartments, sorted. `occurred_at` in milliseconds since 1970."""
    fields = {name: value for part in compartments.values() for name, value in part.items()}
    found = []
    if born := fields.get("birth_date"):
        found.append(f"age:{age(born, occurred_at)}")
    if fields.get("engaged") is True:
        found.append("engaged:yes")
    if (fields.get("warrant") or {}).get("status") == "quashed":
        found.append("warrant:quashed")
    if plain(fields.get("disposition") or "") in NOT_FILED:
        found.append("charge:not-filed")
    if (handed := fields.get("handed_off_at")) is not None:
        found.append(f"handoff:{handoff(handed - occurred_at)}")
    return sorted(found)


def age(born: str, at: int) -> str:
    """The band of somebody's age, `born` as YYYY-MM-DD, at an instant."""
    day, today = date.fromisoformat(born), datetime.fromtimestamp(at / 1000, UTC).date()
    years = today.year - day.year - ((today.month, today.day) < (day.month, day.day))
    return next((name for name, end in AGES if years < end), OLDEST)


def handoff(ms: int) -> str:
    """The band of a hand-off that took so long."""
    return next((name for name, hours in HANDOFFS if ms <= hours * HOUR_MS), LATEST)
