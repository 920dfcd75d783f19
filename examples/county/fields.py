"""Which compartment each field of an event belongs to, as the county reads the contract."""

from __future__ import annotations

from collections.abc import Iterable

COMPARTMENTS = {
    "subject": ("local_id", "name", "birth_date"),
    "occurrence": (
        "occurred_at", "ended_at", "place", "facility", "booked_at", "release_expected_at", "released_at",
        "hearing", "court",
    ),
    "engagement": ("engaged", "phase"),
    "activity": (
        "mode", "staff", "needs", "provider", "program", "service_code", "step", "units", "door",
        "referred_by", "handoff_due_at", "handed_off_at",
    ),
    "clinical": ("crisis_level", "overdose_reversed", "codes", "medication"),
    "legal": ("booking_number", "case_number", "charge", "warrant", "disposition"),
    "narrative": ("narrative", "harm"),
    "equity": ("race_ethnicity", "gender"),
}  # fmt: skip


def carried(fields: Iterable[str]) -> tuple[str, ...]:
    """The compartments that these fields fall into; every event has a person and a time."""
    present = {"local_id", "occurred_at", *fields}
    return tuple(part for part, names in COMPARTMENTS.items() if present.intersection(names))
