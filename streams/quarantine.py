"""What could not be handled, as operators see it: where, why, and the original where it has to be kept."""

from typing import Any, Final

from schemas import codec
from schemas.errors import HubError
from schemas.topics import partition_of
from streams import metrics
from streams.step import Out, Record

TOPIC: Final = "quarantine"


def reference(record: Record) -> str:
    """The id of a quarantined record: where it stood, so that a repeat of the step gives the same one."""
    return f"q-{record.topic}-{record.partition}-{record.offset}"


def place(record: Record) -> dict[str, Any]:
    """Where a record stands, as the field `position`."""
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def aad(ref: str) -> bytes:
    """Associated data of a sealed original; of its sealed headers, with `HEADERS` behind it."""
    return b"quarantine\0" + ref.encode()


HEADERS: Final = b"\0headers"


def refuse(
    out: Out, partitions: int, stage: str, ref: str, error: HubError, at: int, **fields: object
) -> None:
    """Puts something into quarantine within the step's transaction; `fields` are more of `Quarantined`."""
    problem = error.problem()
    value = {
        "id": ref,
        "stage": stage,
        "reason": problem.code,
        "detail": problem.detail,
        "path": problem.path or None,
        "at": at,
        "sealed": b"",
        **fields,
    }
    key = ref.encode()
    out.produce(TOPIC, key, codec.encode("Quarantined", value), partition_of(key, partitions))
    metrics.QUARANTINED.labels(stage, problem.code).inc()
