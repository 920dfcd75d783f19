"""Deletes what lies behind a stage that is done with it."""

from collections.abc import Mapping
from typing import Any

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.errors import code
from streams.settings import answer_ms_max

_log = structlog.get_logger()


class Trimmer:
    """Asks for the deletion and goes on; what became of it is looked at the next time."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self._asked: dict[TopicPartition, Any] = {}

    def __call__(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Deletes the records before these offsets."""
        for at, future in self._asked.items():
            error = future.exception() if future.done() else None
            if isinstance(error, KafkaException):
                _log.warning("records not deleted", topic=at.topic, reason=code(error))
        wanted = [
            TopicPartition(topic, partition, at) for (topic, partition), at in positions.items() if at > 0
        ]
        self._asked = (
            self._admin.delete_records(wanted, request_timeout=answer_ms_max / 1000) if wanted else {}
        )
