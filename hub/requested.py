"""A participant's request as people read it: what was asked for, by when, and how it stands."""

from typing import Any, Final, NamedTuple

from hub import deadlines
from hub.language import Tongue
from hub.requests import Request
from schemas import instant

SOON_MS: Final = 7 * 24 * 3_600_000


class Standing(NamedTuple):
    """How urgent a request is: the name of a shape, and a word."""

    urgency: str
    words: str


def named(kind: str, words: Tongue) -> str:
    """What somebody asks for, as a heading."""
    said = {
        deadlines.ACCOUNTING: words.say("A list of who learned what"),
        deadlines.PART2_LIST: words.say("A list of who got records of substance use treatment"),
        deadlines.DISSEMINATION: words.say("A list of who got criminal history"),
        deadlines.COPY: words.say("A copy of everything"),
        deadlines.CORRECTION: words.say("Something is wrong and is to be put right"),
        deadlines.ERASURE: words.say("To be erased"),
    }
    return said.get(kind, kind)


def standing(one: Request, words: Tongue, now_ms: int) -> Standing:
    """How it stands, by a shape and a word."""
    if one.outcome is not None:
        if one.outcome == "answered":
            return Standing("permit", words.say("Answered"))
        return Standing("held", words.say("Refused"))
    if one.overdue(now_ms):
        return Standing("urgent", words.say("Overdue"))
    if one.due_at - now_ms < SOON_MS:
        return Standing("soon", words.say("Due soon"))
    return Standing("info", words.say("Waits"))


def when(one: Request, words: Tongue, now_ms: int) -> str:
    """By when it is due, or when it was closed, both relative and as a day."""
    if one.closed_at is not None:
        return words.say("closed %(day)s", day=words.day(one.closed_at))
    due = {"ago": words.ago(one.due_at, now_ms), "day": words.day(one.due_at)}
    if one.overdue(now_ms):
        return words.say("was due %(ago)s, %(day)s", **due)
    if one.extended_at is not None:
        return words.say("due %(ago)s, %(day)s, after it was put off", **due)
    return words.say("due %(ago)s, %(day)s", **due)


def line(one: Request, words: Tongue, now_ms: int) -> dict[str, Any]:
    """One request for a list."""
    state = standing(one, words, now_ms)
    return {
        "id": one.id,
        "says": named(one.kind, words),
        "urgency": state.urgency,
        "state": state.words,
        "when": when(one, words, now_ms),
        "filed": words.say("asked %(day)s", day=words.day(one.filed_at)),
        "iso": instant.format(one.due_at if one.closed_at is None else one.closed_at),
    }
