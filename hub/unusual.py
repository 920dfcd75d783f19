"""What is not as it used to be: a day beside the same weekdays before it. Pure: numbers in, findings out.

The measure is robust, so that one odd week neither hides another nor makes one: how many scaled median
absolute deviations (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993) a day is from the median
of the weeks before. A deviation counts as no smaller than what chance alone makes of so few events.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from statistics import median
from typing import Final, Literal, NamedTuple

WEEKS: Final = 8
WEEKS_MIN: Final = 4  # with fewer nothing is said
SCORE_MIN: Final = 3.5
SCALE: Final = 1.4826  # of a normal distribution: standard deviation over MAD
COUNT_MIN: Final = 20  # in a day, before a jump or a share of it means anything
HOURS: Final = 24

Kind = Literal["labels-drop", "volume-jump", "volume-drop"]


class Hour(NamedTuple):
    """What somebody sent, or was permitted, in one hour; `labelled` of it carried a label."""

    hour: int
    events: int
    labelled: int


class Finding(NamedTuple):
    """Something unusual about `who`. `now` and `usual` are counts, or for labels shares from 0 to 1.

    `score` is how many deviations lie between them.
    """

    kind: Kind
    who: str
    now: float
    usual: float
    score: float


def days(hours: Iterable[Hour], until: int) -> list[tuple[int, int]]:
    """Count and labelled of the 24 hours before the hour `until`, and of the same a week earlier, and so on.

    The newest first, `WEEKS` + 1 of them. A week before the first that there is anything of is left out.
    """
    found = [[0, 0] for _ in range(WEEKS + 1)]
    first = until
    for one in hours:
        first = min(first, one.hour)
        week, into = divmod(until - 1 - one.hour, 7 * HOURS)
        if 0 <= week <= WEEKS and into < HOURS:
            found[week][0] += one.events
            found[week][1] += one.labelled
    known = 1 + max(0, (until - HOURS - first) // (7 * HOURS))
    return [(count, labelled) for count, labelled in found[: min(known, WEEKS + 1)]]


def score(now: float, before: Sequence[float], floor: float) -> float:
    """How many deviations, at least `floor` wide each, `now` lies above (or, negative, below) the median."""
    middle = median(before)
    spread = SCALE * median(abs(one - middle) for one in before)
    return (now - middle) / max(spread, floor)


def sender(who: str, told: Sequence[tuple[int, int]]) -> list[Finding]:
    """Whether a sender's labels, or what it sends, dropped. In: `days`."""
    (count, labelled), *before = told or [(0, 0)]
    found = _volume(who, count, [one for one, _ in before], drop=True)
    shares = [some / all_ for all_, some in before if all_ >= COUNT_MIN]
    if count >= COUNT_MIN and len(shares) >= WEEKS_MIN:
        usual = median(shares)
        chance = sqrt(max(usual * (1 - usual), 1 / count) / count)
        far = score(labelled / count, shares, chance)
        if far <= -SCORE_MIN:
            found.append(Finding("labels-drop", who, labelled / count, usual, -far))
    return found


def recipient(who: str, told: Sequence[tuple[int, int]]) -> list[Finding]:
    """Whether what a recipient is permitted jumped. In: `days`."""
    (count, _), *before = told or [(0, 0)]
    return _volume(who, count, [one for one, _ in before], drop=False)


def _volume(who: str, count: int, before: Sequence[int], *, drop: bool) -> list[Finding]:
    if len(before) < WEEKS_MIN:
        return []
    usual = median(before)
    if max(usual, count) < COUNT_MIN:
        return []
    far = score(count, before, sqrt(max(usual, 1)))
    if drop:
        return [Finding("volume-drop", who, count, usual, -far)] if far <= -SCORE_MIN else []
    return [Finding("volume-jump", who, count, usual, far)] if far >= SCORE_MIN else []


def findings(
    senders: Mapping[str, Iterable[Hour]], recipients: Mapping[str, Iterable[Hour]], until: int
) -> list[Finding]:
    """Everything unusual about the 24 hours before the hour `until` (since 1970), the oddest first."""
    found = [one for who, hours in senders.items() for one in sender(who, days(hours, until))]
    found += [one for who, hours in recipients.items() for one in recipient(who, days(hours, until))]
    return sorted(found, key=lambda one: (-one.score, one.kind, one.who))
