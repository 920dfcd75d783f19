"""Governance: policy, stakeholders and subscriptions, as the fold of their records up to an offset."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from consent.policy import Policy
from consent.stakeholder import Stakeholder, Stakeholders
from consent.untyped import lineage
from schemas.errors import BrokenRecord

histories_max: Final = 8  # earlier states kept for replay


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one stakeholder wants, for exactly one purpose, and by which adapter it is to arrive.

    `categories` cover what lies below them; `settings` are the adapter's own, without secrets.
    """

    id: str
    stakeholder: str
    purpose: str
    categories: tuple[str, ...]
    adapter: str
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, value: Mapping[str, Any]) -> "Subscription":
        """From its JSON object. Raises `BrokenRecord` where something is missing or of the wrong type."""
        stakeholder, purpose, adapter = value.get("stakeholder"), value.get("purpose"), value.get("adapter")
        categories, settings = value.get("categories"), value.get("settings", {})
        if not (isinstance(stakeholder, str) and isinstance(purpose, str) and isinstance(adapter, str)):
            raise BrokenRecord("a subscription needs `stakeholder`, `purpose` and `adapter`, strings")
        if not isinstance(categories, list) or not all(isinstance(one, str) for one in categories):
            raise BrokenRecord("a subscription needs `categories`, a list of strings")
        if not isinstance(settings, Mapping):
            raise BrokenRecord("a subscription's `settings` are an object")
        return cls(name, stakeholder, purpose, tuple(categories), adapter, settings)


class Governance:
    """What is in force: `policy` (None until one was written), `stakeholders`, `subscriptions` by id.

    `offset` is that of the last record applied, -1 before the first.
    """

    def __init__(self) -> None:
        self.offset = -1
        self.policy: Policy | None = None
        self.stakeholders = Stakeholders()
        self.subscriptions: dict[str, Subscription] = {}
        self._registered: dict[str, Stakeholder] = {}
        self._history: list[tuple[int, Mapping[str, Any]]] = []
        self._earlier: dict[int, Governance] = {}
        self._wanting: dict[tuple[str, str], tuple[Subscription, ...]] = {}

    def apply(self, offset: int, record: Mapping[str, Any]) -> None:
        """Apply one decoded `Governance` record: it replaces the policy, stakeholder or subscription named.

        Kind `retired` takes away what its id names: body `{"kind": "stakeholder"}` or `"subscription"`, both
        where it doesn't say. A record at or before `offset` was applied already, and changes nothing. Raises
        `BrokenRecord` for what isn't of its shape: only the hub writes here.
        """
        if offset <= self.offset:
            return
        kind, name = record.get("kind"), record.get("id")
        if not isinstance(name, str):
            raise BrokenRecord(f"the governance record at offset {offset} has no id")
        body = _body(record.get("body"), offset)
        if kind == "policy":
            self.policy = Policy.of(body)
        elif kind == "stakeholder":
            self._registered[name] = Stakeholder.of({**body, "id": name})
        elif kind == "subscription":
            self.subscriptions[name] = Subscription.of(name, body)
        elif kind == "retired":
            self._retire(name, body.get("kind"))
        else:
            raise BrokenRecord(f"the governance record at offset {offset} is of no known kind")
        self.stakeholders = Stakeholders(self._registered.values())
        self.offset = offset
        self._history.append((offset, record))
        self._wanting.clear()

    def wanting(self, category: str, discloser: str) -> tuple[Subscription, ...]:
        """The subscriptions that cover an event's category, but for the discloser's own, sorted by id."""
        known = self._wanting.get((category, discloser))
        if known is None:
            covering = lineage(category)
            known = tuple(
                one
                for _, one in sorted(self.subscriptions.items())
                if one.stakeholder != discloser and any(some in one.categories for some in covering)
            )
            if len(self._wanting) < 65_536:
                self._wanting[category, discloser] = known
        return known

    def at(self, offset: int) -> "Governance":
        """What was in force once the record at that offset, and none after it, was applied."""
        if offset >= self.offset:
            return self
        earlier = self._earlier.get(offset)
        if earlier is None:
            earlier = Governance()
            for place, record in self._history:
                if place > offset:
                    break
                earlier.apply(place, record)
            if len(self._earlier) >= histories_max:
                self._earlier.pop(next(iter(self._earlier)))
            self._earlier[offset] = earlier
        return earlier

    def _retire(self, name: str, kind: object) -> None:
        if kind in (None, "subscription"):
            self.subscriptions.pop(name, None)
        if kind in (None, "stakeholder"):
            self._registered.pop(name, None)
            for one in [one for one in self.subscriptions.values() if one.stakeholder == name]:
                del self.subscriptions[one.id]


def _body(value: object, offset: int) -> Mapping[str, Any]:
    try:
        body = json.loads(value) if isinstance(value, bytes | str) else value
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, Mapping):
        raise BrokenRecord(f"the governance record at offset {offset} has no JSON object for a body")
    return body
