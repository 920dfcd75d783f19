"""The way to the clock: ids and times, written to `alarms`. What they are about, the clock never learns."""

from collections.abc import Sequence
from typing import Final

from connectors.adapter import Ringing
from hub.appender import Appender
from schemas import codec

TOPIC: Final = "alarms"


class Alarms:
    """`connectors.adapter.Alarm` over the log."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender

    def set_all(self, ringing: Sequence[Ringing]) -> None:
        """See `Alarm.set_all`."""
        values = [(one.participant, codec.encode("Clock", one._asdict())) for one in ringing]
        self._appender.append_all(TOPIC, values)
