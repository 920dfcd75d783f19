"""What a decision looks at in an event: its attributes, never its payload."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from consent.untyped import moment

_LISTS: Final = (tuple, list)


class Event(NamedTuple):
    """An event's attributes; `occurred_at` in UTC milliseconds, `compartments` those that it carries."""

    id: str | None
    participant: str
    type: str | None
    category: str
    labels: Sequence[str]
    discloser: str
    occurred_at: int
    compartments: Sequence[str]

    @classmethod
    def of(cls, value: object) -> "Event | None":
        """The event in a JSON object, its time RFC 3339 text; None where nothing can be decided about it."""
        if not isinstance(value, Mapping):
            return None
        occurred_at = moment(value.get("occurred_at"))
        if occurred_at is None:
            return None
        labels, compartments = value.get("labels"), value.get("compartments")
        return cls(
            value.get("id"),
            value.get("participant"),  # type: ignore[arg-type]  # `readable` looks at the types
            value.get("type"),
            value.get("category"),  # type: ignore[arg-type]
            () if labels is None else labels,
            value.get("discloser"),  # type: ignore[arg-type]
            occurred_at,
            () if compartments is None else compartments,
        )

    @property
    def readable(self) -> bool:
        """Whether each attribute is there and of its type; what the lists hold is for the policy to say."""
        participant = self.participant
        return (
            type(self.occurred_at) is int
            and isinstance(participant, str)
            and participant != ""
            and isinstance(self.category, str)
            and (self.id is None or isinstance(self.id, str))
            and (self.type is None or isinstance(self.type, str))
            and isinstance(self.labels, _LISTS)
            and isinstance(self.compartments, _LISTS)
        )
