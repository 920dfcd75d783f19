"""The tables at the end: a line for each stakeholder, and whether everything is accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from examples.county.comparison import Line
from examples.county.events import CHANNELS
from examples.county.numbers import ROLES, Numbers
from examples.county.plan import Plan
from examples.county.signed import BY_FHIR

HYPHENATED = {
    "published": "pub-\nlished",
    "permitted": "per-\nmitted",
    "delivered": "deliv-\nered",
    "withheld": "with-\nheld",
    "repeated": "re-\npeated",
    "unexplained": "unex-\nplained",
}
OUT = {
    "webhook": "webhook",
    "pull": "fetched, `/v1/outbox`",
    "csv": "SFTP, CSV files",
    "jsonl": "SFTP, JSON lines",
    "fhir": "FHIR server, transactions",
    "feed": "Kafka, `feed.<id>`",
    "alerts": "alerts page",
}
wide_columns_min = 100
unexplained_shown_max = 20
COLUMNS = ("published", "permitted", "denied", "raced", "delivered", "withheld", "repeated", "unexplained")


def exact(lines: Mapping[str, Line]) -> bool:
    """Whether nothing at all is left unexplained."""
    return not any(line.unexplained for line in lines.values())


def number(line: Line, column: str) -> int:
    """One figure of a stakeholder's account."""
    if column == "denied":
        return line.denied.total()
    return len(line.unexplained) if column == "unexplained" else int(getattr(line, column))


def accounts(lines: Mapping[str, Line], headings: Mapping[str, str]) -> Table:
    """What became of everything, by stakeholder, with the totals below."""
    table = Table(
        title="What was published, and what became of it",
        show_footer=True,
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
    )
    table.add_column("stakeholder", "all", no_wrap=True)
    for column in COLUMNS:
        total = sum(number(line, column) for line in lines.values())
        table.add_column(headings.get(column, column), str(total), justify="right", no_wrap=True)
    for stakeholder, line in lines.items():
        figures = [str(number(line, column)) for column in COLUMNS]
        table.add_row(stakeholder, *figures, style="red" if line.unexplained else None)
    return table


def denials(lines: Mapping[str, Line]) -> Table:
    """Why it was denied, by stakeholder; the words are those of the decisions."""
    table = Table(title="Denied, by reason", box=SIMPLE_HEAD)
    table.add_column("stakeholder", no_wrap=True)
    table.add_column("reasons")
    for stakeholder, line in lines.items():
        table.add_row(stakeholder, ", ".join(f"{why} {count}" for why, count in line.denied.most_common()))
    return table


def ways(county: Plan, lines: Mapping[str, Line]) -> Table:
    """By which ways it came in and went out, and how much by each."""
    table = Table(title="By which ways", box=SIMPLE_HEAD)
    table.add_column("in", no_wrap=True)
    table.add_column("taken", justify="right")
    table.add_column("out", no_wrap=True)
    table.add_column("delivered", justify="right")
    taken = Counter(event.channel for scene in county.scenes for event in scene.events)
    along = sum(len(one.events) for scene in county.scenes for one in scene.submissions)
    coming = [(CHANNELS[one], taken[one]) for one in CHANNELS] + [("HTTP, with a signed consent", along)]
    signed = sum(county.people[one.person].profile in BY_FHIR for _, one in county.directives())
    coming.append(("FHIR, Consents", signed))
    delivered: Counter[str] = Counter()
    for stakeholder, line in lines.items():
        for way, count in line.by.items():
            delivered[OUT[county.agencies[stakeholder].way_form(way)]] += count
    going = [(name, delivered[name]) for name in OUT.values()]
    for entering, leaving in zip_longest(coming, going, fillvalue=("", "")):
        table.add_row(entering[0], str(entering[1]), leaving[0], str(leaving[1]))
    return table


def public(console: Console, county: Plan, counted: Numbers) -> None:
    """Prints what the public's four receive."""
    who = ", ".join(one.name for one in county.agencies.values() if one.role in ROLES)
    months = ", ".join(counted.months) or "no month"
    console.print(
        f"{who}, like anybody, see at /public numbers of {months}: {counted.shown} shown, {counted.hidden} "
        "hidden because they could point at somebody."
    )


def show(console: Console, county: Plan, lines: Mapping[str, Line]) -> None:
    """Prints the tables, what they mean, and the first of whatever is unexplained."""
    headings = {} if console.width >= wide_columns_min else HYPHENATED
    console.print(denials(lines), ways(county, lines), accounts(lines, headings))
    console.print(
        "published = permitted + denied + raced. What raced a revocation may go either way; withheld are "
        "those that did not go. Repeated came again under the same idempotency key, and counts once.",
        style="dim",
    )
    strange = [f"{who}: {what}" for who, line in lines.items() for what in line.unexplained]
    for what in strange[:unexplained_shown_max]:
        console.print(f"  unexplained at {what}", style="red", markup=False)
    if strange:
        console.print(f"{len(strange)} deliveries are not what the consents allow.", style="bold red")
    else:
        console.print("What was delivered is exactly what the consents allow.", style="bold green")
