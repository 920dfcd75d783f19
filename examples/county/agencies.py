"""The stakeholders of the county: who they are, what they subscribe to, and how they number people."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from examples.county.calendar import DAY_MS, rfc3339


@dataclass(frozen=True)
class Subscription:
    """One thing a stakeholder wants to hear of: exactly one purpose, some categories, one way to be told."""

    id: str
    purpose: str
    categories: tuple[str, ...]
    adapter: str

    def wants(self, category: str) -> bool:
        """Whether an event of this category is one of those wanted."""
        return any(category == wanted or category.startswith(wanted + ".") for wanted in self.categories)


@dataclass(frozen=True)
class Agency:
    """One stakeholder, with its agreement's period in milliseconds since 1970.

    `form` is the format of its files, where it gets files; `signed` how its webhook is; `report` the language
    of the report of published numbers that it gets each month, where it does.
    """

    id: str
    name: str
    role: str
    treating: bool
    medical: bool
    part2: bool
    agreement: tuple[int, int]
    subscriptions: tuple[Subscription, ...]
    form: str = "csv"
    signed: str = "hmac"
    report: str | None = None

    def ways_for(self, category: str) -> tuple[str, ...]:
        """The ways by which it is told of a category, each once; none where it does not want it."""
        return tuple(dict.fromkeys(one.adapter for one in self.subscriptions if one.wants(category)))

    def way_form(self, way: str) -> str:
        """What its own system reads: a way's name, of files their format."""
        return self.form if way == "sftp" else way

    def as_json(self) -> dict[str, Any]:
        """The stakeholder as the disclosure rule looks at it."""
        since, until = (rfc3339(moment) for moment in self.agreement)
        return {
            "id": self.id,
            "role": self.role,
            "treating": self.treating,
            "medical": self.medical,
            "agreement": {"from": since, "until": until},
        }


def agencies(anchor: int) -> dict[str, Agency]:
    """Every stakeholder of `stakeholders.toml` by id, its days counted from `anchor` (milliseconds)."""
    table = tomllib.loads(files(__package__).joinpath("stakeholders.toml").read_text("utf-8"))
    return {row["id"]: _agency(row, anchor) for row in table["stakeholder"]}


def _agency(row: dict[str, Any], anchor: int) -> Agency:
    first, last = row["agreement_days"]
    return Agency(
        id=row["id"],
        name=row["name"],
        role=row["role"],
        treating=row.get("treating", False),
        medical=row.get("medical", False),
        part2=row.get("part2", False),
        agreement=(anchor + first * DAY_MS, anchor + last * DAY_MS),
        subscriptions=tuple(
            Subscription(
                id=f"{row['id']}-{number}",
                purpose=one["purpose"],
                categories=tuple(one["categories"]),
                adapter=one.get("adapter", row.get("by", "webhook")),
            )
            for number, one in enumerate(row["subscriptions"], start=1)
        ),
        form=row.get("form", "csv"),
        signed=row.get("signed", "hmac"),
        report=row.get("report"),
    )
