"""How much a recipient is asked to take at once: all it may, one to try, or nothing for now."""

from dataclasses import dataclass
from typing import Final

from connectors.adapter import Outcome

failures_min: Final = 5  # in a row; then one at a time is tried
probe_pause_ms_min: Final = 1_000
probe_pause_ms_max: Final = 300_000

Recipient = tuple[str, str]  # stakeholder, adapter


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    rounds: int = 0  # failures, those that were under way together counted once
    probe_at: int = 0


class Breakers:
    """One circuit breaker for each recipient and adapter, and who asked for nothing more (HTTP 410)."""

    def __init__(self, in_flight_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._breakers: dict[Recipient, _Breaker] = {}
        self._disabled: dict[Recipient, int] = {}
        self._changed: dict[str, int] = {}

    def room(self, recipient: Recipient, in_flight: int, now_ms: int, in_flight_max: int = 0) -> int:
        """How many more deliveries may begin now, with `in_flight` under way.

        In: `in_flight_max`, where this recipient takes another number than all the others.
        """
        if self.disabled(recipient):
            return 0
        breaker = self._breakers.get(recipient)
        if breaker is None or breaker.failures < failures_min:
            return max(0, (in_flight_max or self._in_flight_max) - in_flight)
        return 1 if in_flight == 0 and now_ms >= breaker.probe_at else 0

    def stands(self, recipient: Recipient) -> bool:
        """Whether the recipient stands still: it wants nothing more, or is only tried now and then."""
        breaker = self._breakers.get(recipient)
        return self.disabled(recipient) or (breaker is not None and breaker.failures >= failures_min)

    def ended(self, recipient: Recipient, outcome: Outcome, at: int) -> bool:
        """An attempt ended so; out: whether the recipient stands still from now on.

        What the hub itself could not do says nothing about the recipient.
        """
        if outcome.disable:
            self.disable(recipient, at)
        if outcome.code in ("not-begun", "erased"):
            return False
        if outcome.state in ("delivered", "refused"):
            self._breakers.pop(recipient, None)
            return outcome.disable
        breaker = self._breakers.setdefault(recipient, _Breaker())
        breaker.failures += 1
        breaker.rounds += at >= breaker.probe_at
        pause = min(probe_pause_ms_max, probe_pause_ms_min << min(breaker.rounds - 1, 16))
        breaker.probe_at = max(
            breaker.probe_at, at + max(pause, min(outcome.retry_after_ms or 0, probe_pause_ms_max))
        )
        return breaker.failures == failures_min

    def disable(self, recipient: Recipient, at: int) -> None:
        """The recipient wants nothing more, since `at`, until one of its subscriptions is written anew."""
        self._disabled[recipient] = max(at, self._disabled.get(recipient, 0))

    def governed(self, stakeholder: str, at: int) -> None:
        """A subscription of this stakeholder was written at that time (epoch milliseconds)."""
        self._changed[stakeholder] = max(at, self._changed.get(stakeholder, 0))

    def disabled(self, recipient: Recipient) -> bool:
        """Whether nothing may be sent to the recipient."""
        since = self._disabled.get(recipient)
        return since is not None and since >= self._changed.get(recipient[0], 0)
