"""The way to the clock: ids and times, written to `alarms`. What they are about, the clock never learns."""

from typing import Final

from hub.appender import Appender
from schemas import codec

TOPIC: Final = "alarms"


class Alarms:
    """`connectors.adapter.Alarm` over the log."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender

    def set(self, participant: str, kind: str, ref: str, due_at: int) -> None:
        """See `Alarm.set`."""
        value = {"participant": participant, "kind": kind, "ref": ref, "due_at": due_at}
        self._appender.append(TOPIC, participant, codec.encode("Clock", value))
