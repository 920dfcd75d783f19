"""Delivering once more what was delivered: the operator asks, and the owner decides anew.

The asking names a position in an outbox, nothing else; whoever got it the first time knows it again by its
idempotency key.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog

from connectors.adapter import History, Record
from connectors.pending import Lane
from connectors.recheck import adapters
from consent import Governance
from schemas import codec, topics

log = structlog.get_logger(__name__)


class Found(NamedTuple):
    """What is to be delivered once more, and the settings of its subscription."""

    lane: Lane
    partition: int
    offset: int
    event: str
    settings: Mapping[str, Any]


def is_one(record: Record) -> bool:
    """Whether a record of `views` is such an asking."""
    return record.value is not None and record.value.startswith(codec.header("Resend"))


def found(
    record: Record, history: History, governance: Governance, owns: Callable[[str, int], bool]
) -> Found | None:
    """What it asks for; None where the outbox no longer has it, or nobody subscribes to it any more.

    In: `owns`, whether a stakeholder's outbox partition is this worker's; else it is left to another.
    Raises `BrokenRecord` and `UnknownSchema`: only the hub writes there; `Unavailable` where the log is away.
    """
    asked = codec.decode_as("Resend", record.value or b"")
    stakeholder, offset = asked["stakeholder"], asked["outbox_offset"]
    if not owns(stakeholder, record.partition):
        return None
    kept = history.fetch(topics.outbox(stakeholder), record.partition, [offset]).get(offset)
    if kept is None or kept.value is None:
        log.warning("not sent again: the outbox no longer has it", stakeholder=stakeholder, offset=offset)
        return None
    outbound = codec.decode_as("Outbound", kept.value)
    envelope = outbound["envelope"]
    settings = adapters(outbound, governance).get(asked["adapter"])
    if settings is None or envelope["participant"] != asked["participant"]:
        log.warning("not sent again: nobody subscribes to it", stakeholder=stakeholder, offset=offset)
        return None
    lane = Lane(stakeholder, asked["adapter"], envelope["participant"], envelope["type"])
    return Found(lane, record.partition, offset, envelope["id"], settings)
