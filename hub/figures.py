"""What was published, for the page and the interface: whole tables as they were published, and nothing else.

A question costs as much as its answer is long, however many events were counted.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hub.language import Tongue
from hub.publictables import publications
from hub.store import Store
from streams import measures
from streams.cells import DEFAULT, OTHER, Release
from streams.measures import DIMENSIONS, TOTAL, Measure, Measures
from streams.tallies import HANDOFFS

MONTHS_MAX: Final = 24
FIRST: Final = ("referrals", "engaged", "services")
COLUMNS: Final = {
    "measure": "Name of the measure",
    "version": "Which definition of it; another one is another series, not to be compared",
    "month": "Month, as 2026-01, by the clocks of the program",
    "kind": "What the measure tells apart, say the door of a referral",
    "dimension": "all, district, race, age or gender",
    "value": "Value of that dimension, as participants state it; empty for all",
    "people": "How many people, each once, rounded; empty where it is hidden",
    "noise": "By how many people at most, with 95 %, noise moved the number; empty where none was added",
}


class Series(NamedTuple):
    """One measure in one definition, with what was published of it, newest month first."""

    row: Measure
    months: list[tuple[str, Release]]

    @property
    def latest(self) -> tuple[str, Release]:
        """The newest month."""
        return self.months[0]


def published(
    store: Store, rows: Measures, only: str | None = None, month: str | None = None, until: int | None = None
) -> list[Series]:
    """Every series with what was published of its last months; those of the page first.

    In: one measure's or one month's alone, where it is named; published by when (epoch ms), where that is.
    """
    found = []
    with store.read() as connection:
        for row in rows.rows:
            if only not in (None, row.id):
                continue
            query = sa.select(publications.c.month, publications.c.body).where(
                publications.c.measure == row.id, publications.c.version == row.version
            )
            if month is not None:
                query = query.where(publications.c.month == month)
            if until is not None:
                query = query.where(publications.c.at <= until)
            query = query.order_by(publications.c.month.desc()).limit(MONTHS_MAX)
            months = [(one, Release.of(row.series, one, body)) for one, body in connection.execute(query)]
            if months:
                found.append(Series(row, months))
    order = {name: place for place, name in enumerate(FIRST)}
    return sorted(found, key=lambda one: (order.get(one.row.id, len(order)), one.row.id, -one.row.version))


def records(series: Sequence[Series]) -> Iterator[dict[str, Any]]:
    """Every cell as one record, in the columns of the data dictionary."""
    for one in series:
        for month, release in one.months:
            for cell, people in sorted(release.cells.items()):
                yield {
                    "measure": one.row.id,
                    "version": one.row.version,
                    "month": month,
                    "kind": cell[2],
                    "dimension": cell[3],
                    "value": cell[4],
                    "people": people,
                    "noise": None if release.noise is None else release.noise.within,
                }


def as_csv(series: Sequence[Series]) -> str:
    """The records as CSV (RFC 4180)."""
    written = io.StringIO()
    table = csv.DictWriter(written, list(COLUMNS), lineterminator="\r\n")
    table.writeheader()
    for record in records(series):
        safe = {name: _cell(value) for name, value in record.items()}
        table.writerow(safe)
    return written.getvalue()


def _cell(value: Any) -> Any:
    """What people state about themselves is text: never a formula of a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value


def dictionary(rows: Measures, language: str) -> dict[str, Any]:
    """What every column and measure means, and how the numbers were made safe."""
    return {
        "columns": COLUMNS,
        "rules": DEFAULT._asdict(),
        "measures": [
            {
                "measure": row.id,
                "version": row.version,
                "from": row.since,
                "title": text(row.title, language),
                "definition": text(row.says, language),
                "events": list(row.events),
                "complete_after_days": row.ripe_days,
                "epsilon": row.epsilon,
            }
            for row in rows.rows
        ],
    }


def text(texts: Any, language: str) -> str:
    """A text of a measure in a language."""
    return str(texts.get(language) or texts["en"])


class Line(NamedTuple):
    """A row of a table or a bar of a chart: its words, and a number or None for each column."""

    words: str
    numbers: list[int | None]


class Table(NamedTuple):
    """A table for people: its heading, what the columns are, its lines."""

    heading: str
    columns: list[str]
    lines: list[Line]


class Figure(NamedTuple):
    """A series as the page shows it."""

    id: str
    version: int
    title: str
    says: str
    month: str
    bars: list[Line]
    course: Table
    whom: list[Table]
    noise: str | None = None

    @property
    def empty(self) -> bool:
        """Whether every number of the newest month is hidden."""
        return all(line.numbers[0] is None for line in self.bars)


def figure(series: Series, words: Tongue) -> Figure:
    """A series in a language."""
    row, (month, release) = series.row, series.latest
    kinds = kinds_of(row, release)

    def people(of: Release, month: str, kind: str, dimension: str = TOTAL, value: str = "") -> int | None:
        return of.cells.get(measures.cell(row.series, month, kind, dimension, value))

    named = {kind: kind_words(row, kind, words) for kind in kinds}
    bars = [Line(named[kind], [people(release, month, kind)]) for kind in kinds]
    course = Table(
        words.say("Month by month"),
        list(named.values()),
        [Line(words.month(of), [people(one, of, kind) for kind in kinds]) for of, one in series.months],
    )
    whom = [
        Table(
            words.term("dimension", name),
            list(named.values()),
            [
                Line(value_words(value, words), [people(release, month, kind, name, value) for kind in kinds])
                for value in release.values[name]
            ],
        )
        for name in DIMENSIONS
    ]
    title, says = text(row.title, words.language), text(row.says, words.language)
    noise = noise_words(release, words)
    return Figure(row.id, row.version, title, says, words.month(month), bars, course, whom, noise)


def noise_words(release: Release, words: Tongue) -> str | None:
    """That noise was added and how much, where it was."""
    if release.noise is None:
        return None
    return words.say(
        "A little chance was added to each of these numbers, so that nobody can be made out. In 95 of 100 "
        "cases a number is no more than %(within)s people away from the count, before it is rounded.",
        within=words.number(release.noise.within),
    )


def kinds_of(row: Measure, release: Release) -> list[str]:
    """The kinds of a publication, those that follow each other in that order."""
    bands = [row.band(end) for end in row.bands] if row.by == "until" else [name for name, _ in HANDOFFS]
    order = {name: place for place, name in enumerate((*bands, "before", "after"))}
    return sorted(
        dict.fromkeys(cell[2] for cell in release.cells), key=lambda one: order.get(one, len(order))
    )


def kind_words(row: Measure, kind: str, words: Tongue) -> str:
    """A kind in people's words."""
    if row.by == "category":
        found = [one for one in row.events if measures.covers((one,), f"{one}.{kind}")]
        return words.term("kind", f"{found[0]}.{kind}" if found else kind)
    if row.by == "until" and kind != measures.LATER:
        days = int(kind.split("-")[1])
        return words.say_for(days, "within %(count)s day", "within %(count)s days")
    return words.term("kind", "not yet, or later" if row.by == "until" else kind)


def value_words(value: str, words: Tongue) -> str:
    """A value in people's words: what participants state stays as they state it."""
    return words.term("value", value) if value in (OTHER, "not-stated", "two-or-more") else value


BAR: Final = 20  # pixels, as is all below
ROW: Final = 52
WIDE: Final = 320


def chart(title: str, bars: Sequence[Line], hidden: str, *, alone: bool = False) -> str:
    """Bars as SVG, to stand in a page or, `alone`, anywhere. Texts are escaped."""
    most = max((line.numbers[0] or 0 for line in bars), default=0) or 1
    ink = ' fill="#1c1d1f" font-family="system-ui, sans-serif"' if alone else ' fill="currentColor"'
    height = ROW * len(bars) + (28 if alone else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height}" role="img"{ink}',
        ' font-size="14">',
        f"<title>{escape(title)}</title>",
    ]
    top = 0
    if alone:
        parts.append(f'<rect width="{WIDE}" height="{height}" fill="#ffffff"/>')
        parts.append(f'<text x="0" y="18" font-weight="bold">{escape(title)}</text>')
        top = 28
    for place, line in enumerate(bars):
        y, n = top + place * ROW, line.numbers[0]
        parts.append(f'<text x="0" y="{y + 16}">{escape(line.words)}</text>')
        if n is None:
            parts.append(f'<text x="0" y="{y + 38}" font-style="italic">{escape(hidden)}</text>')
            continue
        width = max(round(n / most * (WIDE - 60)), 1)
        parts.append(f'<rect class="bar" x="0" y="{y + 22}" width="{width}" height="{BAR}"/>')
        parts.append(f'<text x="{width + 6}" y="{y + 38}">{n}</text>')
    return "".join(parts) + "</svg>"
