"""The policy: what may be asked for at all, and the matrix of what each role may see for each purpose."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from consent.untyped import ALL, lineage
from schemas.errors import Invalid

levels_max: Final = 32  # of a category
remembered_max: Final = 4096  # of each kind of answer
EMERGENCY_COMPARTMENTS: Final = ("subject", "occurrence", "clinical")


class Policy:
    """A compiled policy. Immutable; sets of compartments are integers with a bit for each.

    `lineages` maps each category to those that cover it (itself first). `sound` is False where something in
    the source is of the wrong type: under such a policy every decision is `indeterminate`.
    """

    __slots__ = (
        "_carried",
        "_labelled",
        "_names",
        "_rows",
        "bits",
        "emergency",
        "everything",
        "labels",
        "lineages",
        "lookback_days_max",
        "purposes",
        "roles",
        "sound",
        "source",
        "version",
    )

    def __init__(self, source: Mapping[str, Any]) -> None:
        self.source = source
        self.sound = True
        version, lookback = source.get("version"), source.get("lookback_days_max")
        self.version = version if isinstance(version, str) else ""
        self.lookback_days_max = lookback if type(lookback) is int and lookback > 0 else 0
        self.purposes = frozenset(self._texts(source.get("purposes")))
        self.labels = frozenset(self._texts(source.get("labels")))
        self.roles = frozenset(self._texts(source.get("roles")))
        compartments = sorted(set(self._texts(source.get("compartments"))))
        self.bits = {name: 1 << place for place, name in enumerate(compartments)}
        self.everything = (1 << len(self.bits)) - 1
        self.emergency = sum(self.bits.get(name, 0) for name in EMERGENCY_COMPARTMENTS)
        self.lineages: dict[str, tuple[str, ...]] = {}
        for category in self._texts(source.get("categories")):
            if category.count(".") >= levels_max:
                self.sound = False
            else:
                self.lineages[category] = lineage(category)
        self._rows: dict[tuple[str, str, str], int] = {}
        self._fill(source.get("matrix"))
        self._names: dict[int, tuple[str, ...]] = {}
        self._carried: dict[tuple[str, ...], int] = {}
        self._labelled: set[tuple[str, ...]] = {()}

    @classmethod
    def of(cls, source: object) -> "Policy":
        """From a JSON object. Raises `Invalid` for what is not one."""
        if not isinstance(source, Mapping):
            raise Invalid.one("", "wrong-type", "expected a policy, an object")
        return cls(source)

    def shareable(self, role: str | None, category: str, purpose: str) -> int | None:
        """The compartments that the matrix allows, the rows that match added up; None where no row matches.

        `category` is one of the policy's own.
        """
        if role is None:
            return None
        found = None
        for covering in self.lineages[category]:
            row = self._rows.get((role, covering, purpose))
            if row is not None:
                found = row if found is None else found | row
        return found

    def carried(self, compartments: Sequence[str]) -> int | None:
        """The set of these compartments; None where one of them is not the policy's."""
        key = tuple(compartments)
        mask = self._carried.get(key)
        if mask is None:
            if not all(name in self.bits for name in key):
                return None
            mask = 0
            for name in key:
                mask |= self.bits[name]
            if len(self._carried) < remembered_max:
                self._carried[key] = mask
        return mask

    def granted(self, compartments: Sequence[str]) -> int:
        """The set that a grant's list of compartments comes to: `*` is all, what isn't known nothing."""
        mask = 0
        for name in compartments:
            mask |= self.everything if name == ALL else self.bits.get(name, 0)
        return mask

    def labelled(self, labels: Sequence[str]) -> bool:
        """Whether all of these labels are the policy's."""
        key = tuple(labels)
        if key not in self._labelled:
            if not self.labels.issuperset(key):
                return False
            if len(self._labelled) < remembered_max:
                self._labelled.add(key)
        return True

    def names(self, compartments: int) -> tuple[str, ...]:
        """The sorted names of a set of compartments."""
        names = self._names.get(compartments)
        if names is None:
            names = tuple([name for name, bit in self.bits.items() if bit & compartments])
            if len(self._names) < remembered_max:
                self._names[compartments] = names
        return names

    def _fill(self, matrix: object) -> None:
        if matrix is None:
            return
        if not isinstance(matrix, list | tuple):
            self.sound = False
            return
        for row in matrix:
            if not isinstance(row, Mapping):
                self.sound = False
                continue
            role, category = row.get("role"), row.get("category")
            compartments = self._texts(row.get("compartments"))
            purposes = self._texts(row.get("purposes"))
            if not isinstance(role, str) or not isinstance(category, str):
                self.sound = self.sound and (role is None or isinstance(role, str))
                self.sound = self.sound and (category is None or isinstance(category, str))
                continue
            mask = 0
            for name in compartments:
                mask |= self.bits.get(name, 0)
            for purpose in purposes:
                key = (role, category, purpose)
                self._rows[key] = self._rows.get(key, 0) | mask

    def _texts(self, value: object) -> tuple[str, ...]:
        """A list's strings; None is an empty list, and anything else makes the policy unsound."""
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            self.sound = False
            return ()
        return tuple(value)


def default_policy() -> dict[str, Any]:
    """The policy that the hub ships with, as its JSON object."""
    policy: dict[str, Any] = json.loads(files("consent").joinpath("policy.json").read_text(encoding="utf-8"))
    return policy
