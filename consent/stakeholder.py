"""Who takes part: role, agreement, and whether a stakeholder is in the class of treating providers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from consent.untyped import ALWAYS_MS, NEVER_MS, moment
from schemas.errors import Invalid

BY_NAME_ONLY: Final = frozenset({"police", "prosecutor", "public-defender", "court"})


@dataclass(frozen=True, slots=True)
class Stakeholder:
    """One registered stakeholder, compiled.

    Its agreement is in force from `since` to `until`, both ends included, in milliseconds; where it has none,
    `since` is past every instant. `in_class` is membership of `class:treating-provider`. `sound` is False
    where something about it is of the wrong type: nothing is decided for or about such a stakeholder.
    """

    id: str
    role: str | None
    since: int
    until: int
    treating: bool
    medical: bool
    in_class: bool
    sound: bool

    @classmethod
    def of(cls, value: Mapping[str, object]) -> "Stakeholder":
        """A stakeholder from its JSON object. Raises `Invalid` where it has no id."""
        name = value.get("id")
        if not isinstance(name, str):
            raise Invalid.one("/id", "no-id", "a stakeholder needs an `id`, a string")
        named, treating, medical = value.get("role"), value.get("treating"), value.get("medical")
        role = named if isinstance(named, str) else None
        since, until, readable = _agreement(value.get("agreement"))
        sound = (
            readable
            and (named is None or role is not None)
            and (treating is None or isinstance(treating, bool))
            and (medical is None or isinstance(medical, bool))
        )
        return cls(
            id=name,
            role=role,
            since=since,
            until=until,
            treating=treating is True,
            medical=medical is True,
            in_class=treating is True and role not in BY_NAME_ONLY,
            sound=sound,
        )

    def agrees(self, at: int) -> bool:
        """Whether its data-sharing agreement is in force at that instant (milliseconds)."""
        return self.since <= at <= self.until


def _agreement(value: object) -> tuple[int, int, bool]:
    """First and last instant in force, and whether it could be read; without a start it is never in force."""
    if value is None:
        return NEVER_MS, ALWAYS_MS, True
    if not isinstance(value, Mapping):
        return NEVER_MS, ALWAYS_MS, False
    first, last = value.get("from"), value.get("until")
    since, until = moment(first), moment(last)
    readable = (first is None or since is not None) and (last is None or until is not None)
    return NEVER_MS if since is None else since, NEVER_MS if until is None else until, readable


class Stakeholders:
    """Every registered stakeholder, by id. Immutable."""

    __slots__ = ("_by_id",)

    def __init__(self, stakeholders: Iterable[Stakeholder] = ()) -> None:
        self._by_id: dict[str, Stakeholder] = {}
        for place, one in enumerate(stakeholders):
            if one.id in self._by_id:
                raise Invalid.one(f"/{place}/id", "duplicate-id", "another stakeholder has the same `id`")
            self._by_id[one.id] = one

    @classmethod
    def of(cls, values: object) -> "Stakeholders":
        """From a JSON list. Raises `Invalid` for anything but objects with an `id` of their own."""
        if not isinstance(values, list | tuple):
            raise Invalid.one("", "wrong-type", "expected a list of stakeholders")
        compiled = []
        for place, value in enumerate(values):
            if not isinstance(value, Mapping) or not isinstance(value.get("id"), str):
                raise Invalid.one(f"/{place}/id", "no-id", "a stakeholder needs an `id`, a string")
            compiled.append(Stakeholder.of(value))
        return cls(compiled)

    def get(self, name: object) -> Stakeholder | None:
        """The stakeholder with that id, or None."""
        return self._by_id.get(name) if isinstance(name, str) else None

    def __iter__(self) -> Iterator[Stakeholder]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
