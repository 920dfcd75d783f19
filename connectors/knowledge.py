"""What a worker knows of consent and governance, and how far it has told that it does."""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.adapter import Record
from connectors.deliveries import Applied
from consent import Governance, State, States
from schemas import codec


class Knowledge:
    """Consent of the partitions owned, and the whole of governance, each applied record by record."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self._governance_at = -1
        self._states: dict[int, States] = {}
        self._consent_at: dict[int, int] = {}

    def begin(self, partition: int) -> None:
        """Know nothing of a partition, until its consent has been applied from the start."""
        self._states[partition] = States()
        self._consent_at[partition] = -1

    def end(self, partition: int) -> None:
        """Forget a partition."""
        self._states.pop(partition, None)
        self._consent_at.pop(partition, None)

    def change(self, record: Record) -> Mapping[str, Any]:
        """Apply a record of `governance`; out: what it says. Raises `BrokenRecord`, `UnknownSchema`."""
        change = codec.decode_as("Governance", record.value or b"")
        self.governance.apply(record.offset, change)
        self._governance_at = record.offset
        return change

    def directive(self, record: Record) -> Mapping[str, Any]:
        """Apply a record of `consent`; out: what it says.

        Raises `BrokenRecord`, `UnknownSchema`: it may be a revocation, so nothing may be decided without it.
        """
        directive = codec.directive(record.key, record.value)
        states = self._states[record.partition]
        states.apply(directive["participant"], record.offset, directive["body"], directive["id"])
        self._consent_at[record.partition] = record.offset
        return directive

    def state(self, partition: int, participant: str) -> State:
        """A participant's state, as far as applied."""
        return self._states[partition].get(participant)

    def applied(self, partition: int) -> Applied:
        """How far consent of a partition, and governance, are applied."""
        return Applied(self._consent_at[partition], self._governance_at)


class Owned:
    """The outbox partitions of this worker, and what it has acknowledged for them."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._stakeholders: dict[int, set[str]] = {}
        self._told: dict[int, tuple[Applied, frozenset[str]]] = {}
        self._telling: dict[int, tuple[Applied, frozenset[str]]] = {}

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((one, partition) for partition, some in self._stakeholders.items() for one in some)

    def __contains__(self, place: tuple[str, int]) -> bool:
        return place[0] in self._stakeholders.get(place[1], ())

    def add(self, stakeholder: str, partition: int) -> None:
        """This one is ours. Nothing has been acknowledged for it."""
        self._stakeholders.setdefault(partition, set()).add(stakeholder)
        self._told.pop(partition, None)

    def remove(self, stakeholder: str, partition: int) -> bool:
        """This one is somebody else's; out: whether nothing of the partition is left here."""
        self._told.pop(partition, None)
        self._telling = {}
        left = self._stakeholders.get(partition, set())
        left.discard(stakeholder)
        if not left:
            self._stakeholders.pop(partition, None)
        return not left

    def news(self) -> bool:
        """Whether more is applied, or owned, than was acknowledged."""
        return any(self._told.get(partition) != self._now(partition) for partition in self._stakeholders)

    def prepare(self) -> set[tuple[str, int]]:
        """Note what to acknowledge after the commit; out: the outboxes that must send an offset in it."""
        self._telling = {
            partition: now
            for partition in self._stakeholders
            if self._told.get(partition) != (now := self._now(partition))
        }
        return {(one, partition) for partition, (_, some) in self._telling.items() for one in some}

    def take(self) -> dict[int, tuple[Applied, frozenset[str]]]:
        """What is to be acknowledged now that the commit stands: offsets and stakeholders by partition."""
        telling, self._telling = self._telling, {}
        self._told.update(telling)
        return telling

    def _now(self, partition: int) -> tuple[Applied, frozenset[str]]:
        return self._knowledge.applied(partition), frozenset(self._stakeholders[partition])
