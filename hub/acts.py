"""What people and programs do in the hub, written to the log (`work`, `access`) before it takes effect."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any, Final

from hub.appender import Appender, Place
from hub.governance import canonical
from schemas import codec

ACKNOWLEDGED: Final = "alert-acknowledged"
SIGNED_IN: Final = "signed-in"
SIGNED_OUT: Final = "signed-out"
EXPLAINED: Final = "explanation-read"
REFUSED: Final = "directive-refused"


def _id(*parts: str) -> str:
    """The same id for the same act, however often it is written."""
    return "a-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:26]


def work(
    appender: Appender, kind: str, by: str, participant: str, about: str, body: Mapping[str, Any]
) -> Place:
    """Writes what somebody did about a participant. In: `about`, the id of what it was done to.

    Raises `Unavailable` where the log does not take it.
    """
    value = {
        "id": _id(kind, by, about),
        "kind": kind,
        "at": _now(),
        "by": by,
        "participant": participant,
        "body": canonical(body),
    }
    return appender.append("work", participant, codec.encode("Work", value))


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
