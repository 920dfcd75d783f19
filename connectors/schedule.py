"""When a delivery is tried again, and the clock that its deadline is on."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS

PERIODS_MS: Final = {"hour": HOUR_MS, "day": 24 * HOUR_MS}  # for which deliveries may be gathered

retry_after_ms_max: Final = 24 * HOUR_MS  # a recipient may ask for more; it is not waited longer


@dataclass(frozen=True, slots=True)
class Schedule:
    """Pauses after the first, second, … failed attempt, in milliseconds; after the last one it is given up.

    The default tries for six days, as an agency's long weekend takes three. `jitter` is the share of a pause
    by which chance moves it either way, so that recipients who come back aren't met by everything at once.
    """

    pauses_ms: tuple[int, ...] = (
        5 * SECOND_MS,
        30 * SECOND_MS,
        2 * MINUTE_MS,
        10 * MINUTE_MS,
        30 * MINUTE_MS,
        HOUR_MS,
        3 * HOUR_MS,
        6 * HOUR_MS,
        12 * HOUR_MS,
        24 * HOUR_MS,
        24 * HOUR_MS,
        24 * HOUR_MS,
        24 * HOUR_MS,
        24 * HOUR_MS,
    )
    jitter: float = 0.2

    def next_at(
        self, attempt: int, now_ms: int, chance: random.Random, retry_after_ms: int | None = None
    ) -> int | None:
        """When attempt number `attempt` (from 1), which failed, is followed by another; None for never.

        What the recipient asked for (`retry_after_ms`) counts where it is longer.
        """
        if attempt > len(self.pauses_ms):
            return None
        pause = self.pauses_ms[attempt - 1] * (1 + self.jitter * (2 * chance.random() - 1))
        if retry_after_ms is not None:
            pause = max(pause, min(retry_after_ms, retry_after_ms_max))
        return now_ms + int(pause)


def first_at(settings: Mapping[str, Any], now_ms: int) -> int:
    """When what comes now leaves: at the end of its hour or day in UTC; 0, at once, if nothing is gathered.

    In: a subscription's settings, of which `every` is `hour`, `day` or `at-once`, if it is there. Times in
    epoch ms.
    """
    period = PERIODS_MS.get(settings.get("every", ""))
    return 0 if period is None else (now_ms // period + 1) * period


def together(settings: Mapping[str, Any], next_at: int) -> int:
    """The next try of what is gathered: at a full minute, so that it is together again."""
    return -(-next_at // MINUTE_MS) * MINUTE_MS if settings.get("every") in PERIODS_MS else next_at


def awake_ms() -> int:
    """Milliseconds on a clock that also runs while this process, or the machine, is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
