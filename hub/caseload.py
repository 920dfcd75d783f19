"""`hub caseload`: who works with whom, who covers for whom, teams and who leads them. Acts in the log."""

import json
from typing import Annotated, Any, Final

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table

from hub import bootstrap, settings
from hub.bootstrap import Hub
from hub.casetables import caseloads, covers, teams
from hub.crosswalk import local_hash
from hub.errors import OperatorError
from hub.tables import accounts, crosswalk
from schemas import instant

BY: Final = "operator"

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Who works with whom, and who covers.")

Organisation = Annotated[str, typer.Argument(help="The stakeholder whose people they are.")]
Participant = Annotated[
    str, typer.Argument(help="The hub's id of the participant; the local one with --own.")
]
Account = Annotated[str, typer.Argument(help="The case manager's account.")]
Own = Annotated[bool, typer.Option("--own", help="The participant is named by the organisation's own id.")]


@app.command(epilog="Example: hub caseload assign reach p-k2nm7p3q ana")
def assign(organisation: Organisation, participant: Participant, account: Account, own: Own = False) -> None:
    """From now on this case manager works with the participant. Others may at the same time."""
    with _hub() as hub:
        hub.caseloads.assign(BY, organisation, _whom(hub, organisation, participant, own), account)
    _say("assigned")


@app.command(epilog="Example: hub caseload unassign reach 4711 ana --own")
def unassign(
    organisation: Organisation, participant: Participant, account: Account, own: Own = False
) -> None:
    """From now on they don't. Whom nobody works with, everybody of the organisation sees."""
    with _hub() as hub:
        hub.caseloads.unassign(BY, organisation, _whom(hub, organisation, participant, own), account)
    _say("no longer assigned")


@app.command(
    epilog="Example: hub caseload cover reach ana ben --from 2026-12-21T08:00:00-08:00 "
    "--until 2027-01-04T08:00:00-08:00"
)
def cover(
    organisation: Organisation,
    account: Annotated[str, typer.Argument(help="Who is away.")],
    by: Annotated[str, typer.Argument(help="Who covers.")],
    since: Annotated[str, typer.Option("--from", help="When it begins, as RFC 3339.")],
    until: Annotated[str, typer.Option("--until", help="When it ends; the same as the beginning ends it.")],
) -> None:
    """Let somebody see another's caseload while they are away. A later one for the same two replaces it."""
    with _hub() as hub:
        hub.caseloads.cover(BY, organisation, account, by, instant.parse(since), instant.parse(until))
    _say("arranged")


@app.command(epilog="Example: hub caseload join reach 'night team' ben --lead")
def join(
    organisation: Organisation,
    team: Annotated[str, typer.Argument(help="The team's name.")],
    account: Account,
    lead: Annotated[bool, typer.Option("--lead", help="They lead it, and see what escalates.")] = False,
) -> None:
    """Put a case manager into a team, or change whether they lead it."""
    with _hub() as hub:
        hub.caseloads.join(BY, organisation, team, account, lead=lead)
    _say("joined")


@app.command(epilog="Example: hub caseload leave reach 'night team' ben")
def leave(
    organisation: Organisation,
    team: Annotated[str, typer.Argument(help="The team's name.")],
    account: Account,
) -> None:
    """Take a case manager out of a team."""
    with _hub() as hub:
        hub.caseloads.leave(BY, organisation, team, account)
    _say("left")


@app.command("list", epilog="Example: hub caseload list reach --json")
def list_(
    organisation: Organisation,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Each case manager: how many people they work with, their teams, who covers for them now."""
    with _hub() as hub:
        rows = _rows(hub, organisation)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("account", "name", "people", "teams", "leads", "covered by")
    for row in rows:
        cells = (row["account"], row["name"], row["people"], *(", ".join(row[key]) for key in _LISTS))
        table.add_row(*map(str, cells))
    Console().print(table)


_LISTS: Final = ("teams", "leads", "covered_by")


def _rows(hub: Hub, organisation: str) -> list[dict[str, Any]]:
    people = sa.select(accounts.c.id, accounts.c.name).where(
        accounts.c.stakeholder == organisation, accounts.c.role == "case-manager"
    )
    counts = (
        sa.select(caseloads.c.account, sa.func.count())
        .where(caseloads.c.stakeholder == organisation, caseloads.c.until.is_(None))
        .group_by(caseloads.c.account)
    )
    member = sa.select(teams).where(teams.c.stakeholder == organisation, teams.c.until.is_(None))
    now = bootstrap.now_ms()
    away = sa.select(covers).where(
        covers.c.stakeholder == organisation, covers.c.starts_at <= now, covers.c.ends_at > now
    )
    with hub.store.read() as connection:
        rows = connection.execute(people.order_by(accounts.c.id)).all()
        count = {row[0]: row[1] for row in connection.execute(counts)}
        members, aways = connection.execute(member).all(), connection.execute(away).all()
    return [
        {
            "account": row.id,
            "name": row.name,
            "people": count.get(row.id, 0),
            "teams": sorted(one.team for one in members if one.account == row.id),
            "leads": sorted(one.team for one in members if one.account == row.id and one.lead),
            "covered_by": sorted(one.cover for one in aways if one.account == row.id),
        }
        for row in rows
    ]


def _whom(hub: Hub, organisation: str, name: str, own: bool) -> str:
    """The participant's id. Raises `OperatorError` for nobody, without saying the name again."""
    found = sa.select(crosswalk.c.participant).where(
        crosswalk.c.agency == organisation, crosswalk.c.offset.is_not(None)
    )
    if own:
        found = found.where(crosswalk.c.local == local_hash(hub.vault, organisation, name))
    else:
        found = found.where(crosswalk.c.participant == name)
    with hub.store.read() as connection:
        participant = connection.execute(found.limit(1)).scalar()
    if participant is None:
        raise OperatorError(
            f"`{organisation}` has no link to this participant",
            "Link them first: `POST /v1/participants/{participant}/links`.",
        )
    return str(participant)


def _hub() -> Hub:
    return bootstrap.bootstrap(settings.load())


def _say(what: str) -> None:
    typer.echo(f"{what}; written to the log")
