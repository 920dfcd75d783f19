"""The equity page in people's words: comparisons as pictures, and as tables that say when they cannot say."""

from collections.abc import Sequence
from typing import Any, Final

from markupsafe import Markup

from hub import equity
from hub.equity import Census, Comparison, Line
from hub.figures import Series, kind_words, kinds_of, noise_words, text, value_words
from hub.forest import Mark, forest
from hub.language import Tongue

REFERRED: Final = "first-service"  # in whose bands everybody who was referred is once


def sections(series: Sequence[Series], residents: Census | None, words: Tongue) -> list[dict[str, Any]]:
    """Each series' newest month, kind by kind."""
    return [_section(one, _bases(series), residents, words) for one in series]


def unsaid(residents: Census | None, words: Tongue) -> list[str]:
    """What nobody can learn here, since nothing that the hub is told says it."""
    said = [
        words.say(
            "Who was approved: nothing that is told to the hub says if somebody was approved. So who was "
            "referred and not approved cannot be seen."
        ),
        words.say(
            "Who was arrested: only bookings into jail are told to the hub. An arrest without one is in no "
            "number."
        ),
    ]
    if residents is None:
        said.append(words.say("Who lives here: no table of that is loaded."))
    return said


def _bases(series: Sequence[Series]) -> dict[str, dict[str, equity.Range]]:
    """How many were referred, by month and race."""
    return {
        month: equity.referred(one.row, month, release)
        for one in series
        if one.row.id == REFERRED and one.row.by == "until"
        for month, release in one.months
    }


def _section(
    one: Series, bases: dict[str, dict[str, equity.Range]], residents: Census | None, words: Tongue
) -> dict[str, Any]:
    month, release = one.latest
    if equity.denominator(one.row, residents) == "referred":  # of that the newest month may not be known yet
        month, release = next((each for each in one.months if each[0] in bases), one.latest)
    kinds = kinds_of(one.row, release)
    found = [equity.compare(one.row, month, kind, release, residents, bases.get(month, {})) for kind in kinds]
    named = {kind: kind_words(one.row, kind, words) for kind in kinds}
    told = [each for each in found if any(line.people is not None for line in each.lines)]
    silent = [named[each.kind] for each in found if each not in told]
    return {
        "title": text(one.row.title, words.language),
        "says": text(one.row.says, words.language),
        "month": words.month(month),
        "noise": noise_words(release, words),
        "comparisons": [_comparison(each, named[each.kind], words) for each in told],
        "silent": words.listed(silent),
    }


def _comparison(one: Comparison, kind: str, words: Tongue) -> dict[str, Any]:
    reference = value_words(one.reference, words) if one.reference else ""
    against = words.say("1 is as often as for the largest group: %(group)s", group=reference)
    marks = [
        Mark(value_words(line.group, words), line.ratio, line.low, line.high, _ratio(line, words))
        for line in one.lines
        if line.ratio is not None and line.low is not None and line.high is not None
    ]
    return {
        "words": kind,
        "base": one.base,
        "of": words.say("Live here") if one.base == "census" else words.say("Referred"),
        "against": against,
        "chart": Markup(forest(kind, marks)) if marks else "",  # noqa: S704  escaped there
        "lines": [
            {
                "group": value_words(line.group, words),
                "people": _count(line.people, words),
                "of": _count(line.of, words) if line.of is not None or line.why != "no-base" else "–",
                "rate": "–" if line.rate is None else words.decimal(line.rate),
                "said": _said(line, words),
            }
            for line in one.lines
        ],
    }


def _count(n: int | None, words: Tongue) -> str:
    return words.say("hidden") if n is None else words.number(n)


def _ratio(line: Line, words: Tongue) -> str:
    assert line.ratio is not None
    assert line.low is not None
    assert line.high is not None
    low, high = words.decimal(line.low), words.decimal(line.high)
    return words.say("%(ratio)s (%(low)s to %(high)s)", ratio=words.decimal(line.ratio), low=low, high=high)


def _said(line: Line, words: Tongue) -> str:
    if line.ratio is not None:
        return _ratio(line, words)
    if line.why == "reference":
        return words.say("the largest group")
    if line.why == "no-base":
        return words.say("cannot say: it is not known out of how many")
    if line.why == "not-among":
        return words.say("cannot say: more people than they are compared with")
    return words.say("cannot say: a number is hidden")
