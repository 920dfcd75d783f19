"""What admit says about what came in: receipts for the sender, quarantine for the operators."""

from typing import Final

import structlog

from schemas import codec, topics
from schemas.errors import HubError
from streams import metrics, quarantine
from streams.arrival import Arrival, Unread, by_the_hub, headers_json
from streams.keys import Vault
from streams.step import Out, Record

_STAGE: Final = "admit"
_log = structlog.get_logger()


class Answers:
    """Writes both within the step's transaction. `partitions` is the hub's shared count."""

    def __init__(self, vault: Vault, partitions: int) -> None:
        self._vault = vault
        self._partitions = partitions

    def tell(self, record: Record, arrival: Arrival, status: str, at: int, out: Out) -> None:
        """A receipt for an event that could be read."""
        self._receipt(record, status, None, at, out, id=arrival.published.id, event=arrival.event)
        if status != "admitted":
            metrics.ADMITTED.labels(status, arrival.published.type).inc()

    def refuse(self, record: Record, unread: Unread, at: int, out: Out, status: str = "quarantined") -> None:
        """Into quarantine, with the original as it came, and a receipt that says why."""
        ref = quarantine.reference(record)
        sealer, bound = self._vault.hub("originals"), quarantine.aad(ref)
        headers = headers_json(record)
        quarantine.refuse(
            out,
            self._partitions,
            _STAGE,
            ref,
            unread.error,
            at,
            agency=record.topic.partition(".")[2],
            position=quarantine.place(record),
            via=unread.via,
            size=len(unread.original),
            sealed=sealer.seal(bound, unread.original),
            headers=sealer.seal(bound + quarantine.HEADERS, headers) if headers else None,
        )
        self._receipt(record, status, unread.error, at, out, id=unread.given)
        _log.info("refused", topic=record.topic, offset=record.offset, reason=unread.error.code)

    def set_aside(self, agency: str, event: str, error: HubError, original: bytes, at: int, out: Out) -> None:
        """Into quarantine what became impossible behind the inbox; its sender has an answer already."""
        ref = f"q-{event}"
        sealed = self._vault.hub("originals").seal(quarantine.aad(ref), original)
        fields = {"agency": agency, "size": len(original), "sealed": sealed}
        quarantine.refuse(out, self._partitions, _STAGE, ref, error, at, **fields)
        _log.info("set aside", event_id=event, reason=error.code)

    def _receipt(
        self, record: Record, status: str, error: HubError | None, at: int, out: Out, **fields: object
    ) -> None:
        problem = error.problem() if error else None
        value = {
            "status": status,
            "reason": problem.code if problem else None,
            "detail": problem.detail if problem else None,
            "path": (problem.path or None) if problem else None,
            "at": at,
            "position": quarantine.place(record),
            **fields,
        }
        if by_the_hub(record):  # an id of their own may be a case's number, and these never read receipts
            value["id"] = None
        topic = topics.receipts(record.topic.partition(".")[2])
        out.produce(topic, None, codec.encode("Receipted", value), 0)
