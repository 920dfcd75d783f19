"""What people and programs do in the hub, written to the log (`work`, `access`) before it takes effect."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.appender import Appender, Place
from hub.governance import canonical
from schemas import codec

ACKNOWLEDGED: Final = "alert-acknowledged"
SNOOZED: Final = "alert-snoozed"
HANDED_OVER: Final = "alert-handed-over"
UNDONE: Final = "alert-undone"
SEEN: Final = "alert-seen"
ASSIGNED: Final = "caseload-assigned"
UNASSIGNED: Final = "caseload-unassigned"
COVERED: Final = "cover-arranged"
JOINED: Final = "team-joined"
LEFT: Final = "team-left"
REQUEST_FILED: Final = "request-filed"
REQUEST_EXTENDED: Final = "request-extended"
REQUEST_ANSWERED: Final = "request-answered"
REQUEST_REFUSED: Final = "request-refused"
SIGNED_IN: Final = "signed-in"
SIGNED_OUT: Final = "signed-out"
SIGN_IN_REFUSED: Final = "sign-in-refused"
MERGED: Final = "participants-merged"
UNMERGED: Final = "participants-unmerged"
COMPARED: Final = "people-compared"  # to find who was entered twice
SUGGESTED: Final = "likeness-suggested"
TOLD_APART: Final = "told-apart"
PERSON_ADDED: Final = "person-added"
PERSON_REMOVED: Final = "person-removed"
SESSIONS_ENDED: Final = "sessions-ended"
EXPLAINED: Final = "explanation-read"
REQUEST_READ: Final = "request-read"
EXPORTED: Final = "exported"  # before a byte was written: like an intent
EXPORT_WRITTEN: Final = "export-written"
EXPORT_DROPPED: Final = "export-dropped"
REFUSED: Final = "directive-refused"
CARD_MADE: Final = "card-made"
CARD_RESTS: Final = "card-rests"  # somebody tries PINs
HELPER_NAMED: Final = "helper-named"
LETTER_RECEIVED: Final = "letter-received"
LETTER_TAKEN: Final = "letter-taken"
LETTER_CLOSED: Final = "letter-closed"
LETTER_READ: Final = "letter-read"
REPORT_SENT: Final = "report-sent"
FORM_KEPT: Final = "form-kept"
FORM_READ: Final = "form-read"
FORM_ANSWERED: Final = "form-answered"  # whatever the answer was


def _id(*parts: str) -> str:
    """The same id for the same act, however often it is written."""
    return "a-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:26]


def did(
    kind: str,
    by: str,
    participant: str,
    about: str,
    body: Mapping[str, Any],
    at: int,
    sealed: bytes | None = None,
) -> dict[str, Any]:
    """A `Work` record: what somebody did. In: `about`, the id of what it was done to; `at` in epoch ms; words
    that they wrote, sealed under the participant's key.

    What is about nobody who takes part (who covers for whom, teams) has an empty participant.
    """
    return {
        "id": _id(kind, by, about),
        "kind": kind,
        "at": at,
        "by": by,
        "participant": participant,
        "body": canonical(body),
        "sealed": sealed,
    }


def write(appender: Appender, work: Mapping[str, Any], key: str) -> Place:
    """Writes such a record. In: its key, the participant where there is one. Raises `Unavailable`."""
    return appender.append("work", key, codec.encode("Work", dict(work)))


def write_all(appender: Appender, works: Sequence[Mapping[str, Any]]) -> list[Place]:
    """Writes such records, each under its participant's key. Raises `Unavailable`; then some may stand."""
    return appender.append_all(
        "work", [(one["participant"], codec.encode("Work", dict(one))) for one in works]
    )


def work(
    appender: Appender, kind: str, by: str, participant: str, about: str, body: Mapping[str, Any]
) -> Place:
    """Writes what somebody did about a participant. In: `about`, the id of what it was done to.

    Raises `Unavailable` where the log does not take it.
    """
    return write(appender, did(kind, by, participant, about, body, _now()), participant)


def access(
    appender: Appender,
    kind: str,
    principal: str,
    body: Mapping[str, Any],
    participant: str | None = None,
) -> Place:
    """Writes that somebody came in, looked, or was refused. Raises `Unavailable`."""
    at = _now()
    value = {
        "id": _id(kind, principal, str(at), repr(sorted(body.items()))),
        "kind": kind,
        "at": at,
        "principal": principal,
        "participant": participant,
        "body": canonical(body),
    }
    return appender.append("access", principal, codec.encode("Access", value))


def _now() -> int:
    return time.time_ns() // 1_000_000
