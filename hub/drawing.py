"""Consent as bars over time, disclosures as marks on them: where each is drawn, and the same in words.

Positions are of a drawing `WIDTH` wide; what falls on one place is one mark, so a drawing is bounded however
much was disclosed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from consent.course import Course, Line, Span, within
from consent.untyped import ALL, NEVER_MS, TREATING
from hub.accounting import Disclosure
from hub.changes import recipient
from hub.language import Tongue

WIDTH: Final = 500
HEIGHT: Final = 24
LINES_MAX: Final = 120
AHEAD: Final = 12  # part of the period that is drawn past now, for what runs on
OTHER: Final = Line("other", "", "")
_ORDER: Final = ("consent", "restriction", "order", "emergency", "other")


@dataclass(slots=True)
class _Marks:
    """Disclosures on one line, in epoch milliseconds: those that are certain, those in doubt."""

    certain: list[int] = field(default_factory=list)
    doubtful: list[int] = field(default_factory=list)


def drawn(
    course: Course,
    disclosures: Sequence[Disclosure],
    since: int,
    now: int,
    names: Mapping[str, str],
    words: Tongue,
) -> dict[str, Any]:
    """What the page draws of a period that begins at `since` and ends a little after `now` (epoch ms)."""
    until = now + max(1, (now - since) // AHEAD)
    lines = dict(within(course, since, until))
    marks = _marked(disclosures, course)
    for line in marks:
        lines.setdefault(line, ())
    ordered = sorted(lines, key=lambda one: _ORDER.index(one.kind))
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "now": _place(now, since, until),
        "since": words.day(since),
        "until": words.day(until),
        "today": words.day(now),
        "groups": [
            {"title": _title(kind, words), "lines": some}
            for kind in _ORDER
            if (
                some := [
                    _drawn(line, lines[line], marks.get(line, _Marks()), since, until, names, words)
                    for line in ordered[:LINES_MAX]
                    if line.kind == kind
                ]
            )
        ],
        "more": max(0, len(ordered) - LINES_MAX),
    }


def _marked(disclosures: Iterable[Disclosure], course: Course) -> dict[Line, _Marks]:
    """On which lines each disclosure rests. What rests on none that is known has a line of its own."""
    found: dict[Line, _Marks] = {}
    by_id: dict[str, list[Line]] = {}
    for known in course.lines:
        by_id.setdefault(known.id, []).append(known)
    for one in disclosures:
        resting: set[Line] = {
            line
            for grant in one.grants
            if (line := _resting(by_id.get(grant.partition("/")[0], ()), one.stakeholder))
        }
        for rests in resting or {OTHER}:
            marks = found.setdefault(rests, _Marks())
            (marks.certain if one.certain else marks.doubtful).extend({one.first_at, one.last_at})
    return found


def _resting(lines: Iterable[Line], stakeholder: str) -> Line | None:
    for name in (stakeholder, TREATING, ALL):
        for line in lines:
            if line.recipient == name:
                return line
    return None


def _drawn(
    line: Line,
    spans: Sequence[Span],
    marks: _Marks,
    since: int,
    until: int,
    names: Mapping[str, str],
    words: Tongue,
) -> dict[str, Any]:
    whom = recipient(line.recipient, names, words) if line.recipient else words.say("On something else")
    told = [_told(one, words) for one in spans]
    certain = words.say_for(len(marks.certain), "%(count)s disclosure", "%(count)s disclosures")
    doubtful = words.say_for(len(marks.doubtful), "%(count)s in doubt", "%(count)s in doubt")
    return {
        "whom": whom,
        "id": line.id,
        "never": line.kind == "restriction",
        "bars": [
            {
                "x": (x := _place(one.since, since, until)),
                "width": max(1, _place(one.until, since, until) - x),
            }
            for one in spans
        ],
        "certain": _places(marks.certain, since, until),
        "doubtful": _places(marks.doubtful, since, until),
        "spans": told,
        "disclosures": words.number(len(marks.certain)),
        "doubts": words.number(len(marks.doubtful)),
        "words": words.say(
            "%(whom)s: %(spans)s; %(disclosures)s, %(doubts)s",
            whom=whom,
            spans="; ".join(told) or words.say("nothing is on record"),
            disclosures=certain,
            doubts=doubtful,
        ),
    }


def _told(span: Span, words: Tongue) -> str:
    begins = words.day(span.since)
    if span.until >= NEVER_MS:
        return words.say("from %(since)s on", since=begins)
    if span.taken:
        return words.say(
            "from %(since)s until it was ended %(until)s", since=begins, until=words.exact(span.until)
        )
    return words.say(
        "from %(since)s until it ends by itself %(until)s", since=begins, until=words.day(span.until)
    )


def _title(kind: str, words: Tongue) -> str:
    return {
        "consent": words.say("Agreed to"),
        "restriction": words.say("Said never"),
        "order": words.say("Court orders"),
        "emergency": words.say("Emergencies"),
        "other": words.say("Rests on something else"),
    }[kind]


def _place(at: int, since: int, until: int) -> int:
    return round(min(max((at - since) / (until - since), 0.0), 1.0) * WIDTH)


def _places(times: Iterable[int], since: int, until: int) -> list[int]:
    return sorted({_place(at, since, until) for at in times})
