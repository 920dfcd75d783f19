"""`hub report`: what a participant, a court or an auditor is owed, as a table, CSV, JSON or PDF."""

import csv
import io
import json
import sys
import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from datetime import time as clock
from enum import StrEnum
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from connectors.tabular import cell
from hub import accounting, acts, bootstrap, passes, settings
from hub.accounting import Account, Disclosure
from hub.changes import recipient
from hub.errors import OperatorError
from hub.governance import Register
from hub.language import DEFAULT, LANGUAGES, Tongue, tongue
from schemas import instant
from schemas.errors import BadTime

YEARS: Final = 6  # what 45 CFR 164.528(a)(1) gives a right to; 42 CFR 2.24 three
BY: Final = "operator"
ACCOUNTED: Final = "disclosures-reported"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="What participants, courts and auditors are owed.",
    epilog="Example: hub report disclosures p-k2nm7p3q --format pdf > disclosures.pdf",
)


class Format(StrEnum):
    """What is printed."""

    table = "table"
    csv = "csv"
    json = "json"
    pdf = "pdf"


class NoSuchParticipant(OperatorError):
    """Nobody is known under this id."""


@app.callback()
def root() -> None:
    """A group of commands."""


@app.command(
    epilog="""Example: hub report disclosures p-k2nm7p3q --from 2026-01-01 --format csv > disclosures.csv

To hand over, in Spanish: hub report disclosures p-k2nm7p3q --language es --format pdf > divulgaciones.pdf"""
)
def disclosures(
    participant: Annotated[str, typer.Argument(help="The participant's id in the hub.", show_default=False)],
    since: Annotated[
        str | None, typer.Option("--from", help="First day, YYYY-MM-DD; six years back if not given.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Last day, YYYY-MM-DD; today if not given.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.table,
    language: Annotated[str, typer.Option(help="`en` or `es`.")] = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Who learned what about a participant, when, for what and by whose leave. That you asked is recorded."""
    if language not in LANGUAGES:
        raise typer.BadParameter(f"expected one of {', '.join(LANGUAGES)}", param_hint="--language")
    form = Format.json if as_json else form
    if form is Format.pdf and sys.stdout.isatty():
        raise typer.BadParameter(
            "a PDF is no text for a terminal: add `> disclosures.pdf`", param_hint="--format"
        )
    settled = settings.load()
    zone = ZoneInfo(settled.time_zone)
    now = time.time_ns() // 1_000_000
    first, last = period(since, until, zone, now)
    words = tongue(language, settled.time_zone)
    with bootstrap.bootstrap(settled) as hub:
        if not accounting.known(hub.store, participant):
            raise NoSuchParticipant("nobody is known under this id", "It must be the hub's own, `p-` first.")
        helpers = passes.names(hub.store, hub.vault, participant)
        found = accounting.account(hub.store, participant, first, last, helpers)
        body = {"from": instant.format(first), "to": instant.format(last), "format": form.value}
        acts.access(hub.appender, ACCOUNTED, BY, body, participant)
        register = hub.register()
    if form is Format.pdf:
        from hub.handout import handout  # noqa: PLC0415  its library is slow to import

        sys.stdout.buffer.write(handout(found, register, words, now))
    elif form is Format.csv:
        sys.stdout.write(as_csv(found, register, words))
    elif form is Format.json:
        typer.echo(json.dumps(as_json_value(found, register, words, now), ensure_ascii=False))
    else:
        _print(found, register, words)


@app.command(epilog="Example: hub report sent --json")
def sent(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Reports of the published numbers: to whom, for when, and what became of each."""
    from hub import reporting  # noqa: PLC0415  its libraries are slow to import

    with bootstrap.bootstrap(settings.load()) as hub:
        found = reporting.listed(hub.store)
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("to", "period", "state", "code", "attempts", "sent", "next try", box=None)
    for one in found:
        table.add_row(*(str(one[name] or "") for name in reporting.COLUMNS))
    Console().print(table if found else "No report was due yet; `hub agency add --report` asks for one.")


def period(since: str | None, until: str | None, zone: ZoneInfo, now: int) -> tuple[int, int]:
    """First and last millisecond of the days meant, at the program's place. Raises `typer.BadParameter`."""
    today = datetime.fromtimestamp(now / 1000, zone).date()
    last = _day(until, "--to") if until else today
    first = _day(since, "--from") if since else _years_before(last, YEARS)
    if first > last:
        raise typer.BadParameter("it lies after --to", param_hint="--from")
    start = datetime.combine(first, clock.min, zone)
    end = datetime.combine(last + timedelta(days=1), clock.min, zone)
    return int(start.timestamp() * 1000), int(end.timestamp() * 1000) - 1


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("expected a day such as 2026-01-31", param_hint=option) from None


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # the 29th of February
        return day.replace(year=day.year - years, day=28)


def row(one: Disclosure, of: Account, register: Register, words: Tongue) -> dict[str, Any]:
    """One entry in people's words, beside the codes: the same for every format."""
    about = of.events.get(one.event)
    names = register.names()
    consents = sorted({grant.partition("/")[0] for grant in one.grants})
    return {
        "first": instant.format(one.first_at),
        "last": instant.format(one.last_at),
        "times": one.times,
        "in_doubt": one.doubts,
        "certain": one.certain,
        "recipient": recipient(one.stakeholder, {**names, **of.helpers}, words),
        "recipient_id": one.stakeholder,
        "recipient_address": str(register.stakeholders.get(one.stakeholder, {}).get("address") or ""),
        "what": words.term("category", about.category) if about else _page(one, words),
        "happened": instant.format(about.occurred_at) if about else "",
        "told_by": names.get(about.discloser, about.discloser) if about else "",
        "parts": [words.term("compartment", part) for part in one.compartments],
        "purposes": [words.term("purpose", purpose) for purpose in one.purposes],
        "basis": [words.term("basis", basis) for basis in one.bases],
        "rests_on": list(one.grants),
        "signed": [of.signed[consent] for consent in consents if of.signed.get(consent)],
        "ways": list(one.ways),
        "event": one.event,
        "participant": of.participant,
    }


def _page(one: Disclosure, words: Tongue) -> str:
    """What a helper saw; nothing where it is only unknown what an event was."""
    return words.say("the participant's own page, as their helper") if one.visited else ""


def as_json_value(of: Account, register: Register, words: Tongue, now: int) -> dict[str, Any]:
    """The whole accounting."""
    return {
        "participant": of.participant,
        "from": instant.format(of.since),
        "to": instant.format(of.until),
        "made_at": instant.format(now),
        "disclosures": [row(one, of, register, words) for one in of.disclosures],
    }


def as_csv(of: Account, register: Register, words: Tongue) -> str:
    """RFC 4180, a line for each entry; what a spreadsheet would take for a formula is marked as text."""
    out = io.StringIO(newline="")
    rows = [row(one, of, register, words) for one in of.disclosures]
    names = list(row(_NONE, of, register, words))
    writer = csv.DictWriter(out, names, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in one.items()} for one in rows)
    return out.getvalue()


_NONE: Final = Disclosure("", "", 0, 0, 0, 0, (), (), (), (), ())


def _print(of: Account, register: Register, words: Tongue) -> None:
    console = Console()
    if not of.disclosures:
        console.print(words.say("Nothing was disclosed in this period."))
        return
    table = Table(
        *(words.say("When"), words.say("To whom"), words.say("What"), words.say("For what")),
        *(words.say("By whose leave"), words.say("How sure")),
        box=None,
    )
    for one in of.disclosures:
        table.add_row(*told(one, row(one, of, register, words), words))
    console.print(table)


def _signed(text: str, words: Tongue) -> str:
    """The day that stands on a form; as it is written there, should it be no time."""
    try:
        return words.day(instant.parse(text))
    except BadTime:
        return text


def told(one: Disclosure, said: Mapping[str, Any], words: Tongue) -> tuple[str, str, str, str, str, str]:
    """An entry as a person reads it: when, to whom, what, for what, by whose leave, how sure."""
    when = words.exact(one.first_at)
    if one.last_at != one.first_at:
        when = words.say("%(first)s, and up to %(last)s", first=when, last=words.exact(one.last_at))
    whom = "\n".join(part for part in (said["recipient"], said["recipient_address"]) if part)
    what = said["what"]
    if said["parts"]:
        what = words.say("%(what)s: %(parts)s", what=what, parts=words.listed(said["parts"]))
    leave = [
        *said["basis"],
        *(words.say("signed %(time)s", time=_signed(text, words)) for text in said["signed"]),
    ]
    if not one.certain:
        sure = words.say("In doubt: it may have been disclosed")
    elif one.times > 1:
        sure = words.say_for(one.times, "%(count)s time", "%(count)s times")
    else:
        sure = words.say("Certain")
    return when, whom, what, words.listed(said["purposes"]), "\n".join(leave), sure
