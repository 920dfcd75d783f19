"""How often one credential may ask: a bucket of tokens for each, in this process.

Whoever waits a second has `per_s` more, and never more than `burst`. Who was forgotten for want of room
begins anew with a full bucket, which takes as many credentials as there is room for.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

CREDENTIALS_MAX: Final = 10_000
ROUNDING: Final = 1e-6  # of a request: what differences between times lose


class Rates:
    """The buckets. For one event loop."""

    def __init__(self, per_s: float, burst: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        """In: requests a second in the long run, and at once."""
        self._per_s = per_s
        self._burst = burst
        self._clock_s = clock_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and as of when

    def take(self, credential: str) -> int:
        """Take one request. Out: 0, or after how many whole seconds there is one again."""
        now = self._clock_s()
        left, at = self._buckets.pop(credential, (float(self._burst), now))
        left = min(self._burst, left + (now - at) * self._per_s)
        granted = left >= 1 - ROUNDING
        self._buckets[credential] = (left - granted, now)
        if len(self._buckets) > CREDENTIALS_MAX:
            self._buckets.popitem(last=False)
        return 0 if granted else max(1, math.ceil((1 - left) / self._per_s))
