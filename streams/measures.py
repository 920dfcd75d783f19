"""What is counted: rows of a TOML file, which says in its own words what each key means."""

import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.errors import Invalid, Problem
from streams.cells import Cell, Relation

FILE_CHARS_MAX: Final = 256 * 1024
MEASURES_MAX: Final = 60
DIMENSIONS: Final = ("district", "race", "age", "gender")
TOTAL: Final = "all"
LATER: Final = "later"
MONTH: Final = r"[0-9]{4}-(0[1-9]|1[0-2])"
DAY_MS: Final = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Id = Annotated[str, Field(pattern=r"^[a-z][a-z-]{1,40}$")]
Days = Annotated[int, Field(ge=1, le=366)]


class Measure(BaseModel):
    """One measure in one definition."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    id: Id
    version: Annotated[int, Field(ge=1, le=999)]
    since: Annotated[str, Field(alias="from", pattern=f"^{MONTH}$")]
    events: Annotated[tuple[str, ...], Field(min_length=1, max_length=30)]
    by: Literal["one", "category", "tally", "until", "around"]
    tally: Literal["engaged", "warrant", "charge", "handoff"] | None = None
    then: tuple[str, ...] = ()
    bands: Annotated[tuple[Days, ...], Field(max_length=10)] = ()
    days: Days | None = None
    ripe_days: Annotated[int, Field(ge=1, le=400)]
    epsilon: Annotated[float, Field(ge=0.001, le=10)] | None = None
    title: dict[Literal["en", "es"], str]
    says: dict[Literal["en", "es"], str]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        wanted = {"tally": self.by == "tally", "bands": self.by == "until", "days": self.by == "around"}
        wanted["then"] = self.by in {"until", "around"}
        for name, needed in wanted.items():
            if bool(getattr(self, name)) != needed:
                what = "needs" if needed else "has no"
                raise PydanticCustomError("not-whole", f"`by = {self.by}` {what} `{name}`")
        if list(self.bands) != sorted(set(self.bands)):
            raise PydanticCustomError("not-rising", "`bands` rise")
        if self.ripe_days <= max(self.days or 0, *self.bands, 0):
            raise PydanticCustomError("not-ripe", "`ripe_days` is more than `days` and each of `bands`")
        for texts in (self.title, self.says):
            if set(texts) != {"en", "es"}:
                raise PydanticCustomError("language", "`title` and `says` are in en and es")
        return self

    @property
    def series(self) -> str:
        """What its cells are named by: a new definition is another series."""
        return f"{self.id}@{self.version}"

    @property
    def apart(self) -> bool:
        """Whether everybody is in one kind at most."""
        return self.by in {"one", "until"} or self.tally == "handoff"

    @property
    def everybody(self) -> bool:
        """Whether everybody of whom there is one of its events is in a kind."""
        return self.by in {"one", "category", "until"}

    def band(self, days: int | None) -> str:
        """Which band so many days are in; None for what has not come."""
        return next((f"within-{end}-days" for end in self.bands if days is not None and days <= end), LATER)


@lru_cache(maxsize=4_096)
def covers(categories: tuple[str, ...], category: str) -> bool:
    """Whether one of these is the category, or stands above it."""
    return any(category == one or category.startswith(one + ".") for one in categories)


class Measures:
    """All of them. In a month one definition of each counts: the newest that has begun."""

    def __init__(self, rows: Sequence[Measure]) -> None:
        """Raises `Invalid` where two rows have one series, or a later version begins no later."""
        self.rows = tuple(sorted(rows, key=lambda one: (one.id, one.version)))
        for one, other in pairwise(self.rows):
            if one.id == other.id and (one.version == other.version or one.since >= other.since):
                raise Invalid.one(f"/{other.id}", "order", "each version of a measure begins later")

    def of(self, month: str) -> list[Measure]:
        """Those that count in a month, in the order of their names."""
        found = {one.id: one for one in self.rows if one.since <= month}
        return list(found.values())

    def find(self, series: str) -> Measure | None:
        """The measure of a series."""
        return next((one for one in self.rows if one.series == series), None)


def load(path: Path | None = None) -> Measures:
    """The measures of a file, or those that the hub ships with. Raises `Invalid`, `OSError`."""
    source = path or resources.files("streams").joinpath("measures.toml")
    text = source.read_text(encoding="utf-8")
    if len(text) > FILE_CHARS_MAX:
        raise Invalid.one("", "too-large", f"at most {FILE_CHARS_MAX} characters")
    try:
        rows = tomllib.loads(text).get("measure")
    except tomllib.TOMLDecodeError as error:
        raise Invalid.one("", "not-toml", str(error)) from None
    if not isinstance(rows, list) or not 0 < len(rows) <= MEASURES_MAX:
        raise Invalid.one("/measure", "missing", f"1 to {MEASURES_MAX} tables `[[measure]]`")
    found, problems = [], []
    for place, row in enumerate(rows):
        try:
            found.append(Measure.model_validate(row))
        except ValidationError as error:
            problems += [
                Problem(f"/measure/{place}/" + "/".join(map(str, one["loc"])), one["type"], one["msg"])
                for one in error.errors()
            ]
    if problems:
        raise Invalid(problems)
    return Measures(found)


def day(ms: int, zone: tzinfo) -> int:
    """The day, by the clocks there, on which an instant is: days since 1970."""
    local = (_EPOCH + timedelta(milliseconds=ms)).astimezone(zone)
    return local.date().toordinal() - _EPOCH.date().toordinal()


@lru_cache(maxsize=4_096)
def month(day: int) -> str:
    """The month of a day, as 2026-01."""
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m")


def ripe(measure: Measure, of: str, day: int) -> bool:
    """Whether a month of a measure is complete on a day."""
    return month(day - measure.ripe_days) > of


def cell(series: str, of: str, kind: str, dimension: str = TOTAL, value: str = "") -> Cell:
    """The name of a count."""
    return (series, of, kind, dimension, value)


def relations(measures: Sequence[Measure], cells: Sequence[Cell]) -> list[Relation]:
    """What everybody knows to add up among these cells, which may be of several months.

    A row's values add up to its total. Of two measures of one month, the people of the first are among those
    of the second where its events are: anybody knows that whoever had a hand-off was referred.
    """
    found = [Relation((total,), parts) for total, parts in _rows(cells)]
    kinds: dict[tuple[str, str, str, str], list[Cell]] = {}
    for one in sorted(set(cells)):
        kinds.setdefault((one[0], one[1], one[3], one[4]), []).append(one)
    for (series, of, dimension, value), mine in kinds.items():
        smaller = next((one for one in measures if one.series == series), None)
        if smaller is None:
            continue
        for larger in measures:
            others = kinds.get((larger.series, of, dimension, value))
            if larger.series == series or not others or not larger.everybody:
                continue
            if all(covers(larger.events, one) for one in smaller.events):
                wholes = [tuple(mine)] if smaller.apart else [(one,) for one in mine]
                found += [Relation(whole, tuple(others), exact=False) for whole in wholes]
    return found


def _rows(cells: Sequence[Cell]) -> list[tuple[Cell, tuple[Cell, ...]]]:
    parts: dict[tuple[Cell, str], list[Cell]] = {}
    for one in sorted(set(cells)):
        if one[3] != TOTAL:
            parts.setdefault((cell(*one[:3]), one[3]), []).append(one)
    known = set(cells)
    return [(total, tuple(found)) for (total, _), found in parts.items() if total in known]
