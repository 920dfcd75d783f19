"""`hub person` and `hub session`: who may sign in by name, who did, and how to end it."""

import json
from typing import Annotated, Final, cast

import typer
from rich.console import Console
from rich.table import Table

from hub import acts, bootstrap, settings
from hub.accounts import ROLES, Accounts, BadAccount
from hub.bootstrap import Hub
from hub.sessions import Account, Role, Sessions
from schemas import instant, topics

BY: Final = "operator"
NAME_CHARS_MAX: Final = 100

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Who may sign in with a browser.")
sessions = typer.Typer(add_completion=False, no_args_is_help=True, help="Who is signed in.")

Id = Annotated[str, typer.Argument(help="The account's id.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(
    epilog="Example: hub person add ana --subject 00u1k2m3 --role case-manager --stakeholder reach "
    "--name 'Ana Ruiz'"
)
def add(
    account: Id,
    subject: Annotated[
        str, typer.Option(help="What the sign-in service calls them, for ever; the refused page shows it.")
    ],
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")],
    name: Annotated[str, typer.Option(help="What people call them.")],
    stakeholder: Annotated[str | None, typer.Option(help="The organisation they work for.")] = None,
    issuer: Annotated[
        str | None, typer.Option(help="The sign-in service; `oidc_issuer` if left out.")
    ] = None,
) -> None:
    """Let somebody sign in by name, or change as what; what groups say of them does not count any more."""
    with _hub() as hub:
        vouching = issuer or hub.settings.oidc_issuer
        if vouching is None:
            raise BadAccount("no sign-in service is set up", "Set `oidc_issuer`, or say `--issuer`.")
        _check(hub, account, subject, role, name, stakeholder)
        made = Account(account, cast(Role, role), name, stakeholder)
        Accounts(hub.store).add(made, vouching, subject)
        body = {"role": role, "stakeholder": stakeholder}
        acts.access(hub.appender, acts.PERSON_ADDED, BY, {"account": account, **body})
    typer.echo(f"{account} may sign in")


@app.command(epilog="Example: hub person remove ana")
def remove(account: Id) -> None:
    """Sign somebody out everywhere, and let them in no more, whatever their groups say."""
    with _hub() as hub:
        acts.access(hub.appender, acts.PERSON_REMOVED, BY, {"account": account})
        ended = Accounts(hub.store).remove(account)
    typer.echo(f"{account} may not sign in any more; sessions ended: {ended}")


@app.command("list", epilog="Example: hub person list --json")
def list_(as_json: AsJson = False) -> None:
    """Print who may sign in, by name, by group or in the demonstration, and who signed in by their groups."""
    with _hub() as hub:
        rows = Accounts(hub.store).listed()
    if as_json:
        typer.echo(json.dumps([row._asdict() for row in rows], ensure_ascii=False))
        return
    table = Table("id", "role", "name", "organisation", "let in by", "signed in", box=None)
    for row in rows:
        way = "demo" if row.demo else "name" if row.named else "group"
        way = "removed" if row.disabled_at is not None else way
        table.add_row(row.id, row.role, row.name, row.stakeholder or "", way, str(row.sessions))
    Console().print(table)


@sessions.command("list", epilog="Example: hub session list --json")
def open_ones(as_json: AsJson = False) -> None:
    """Print who is signed in, since when, and when they last did something."""
    with _hub() as hub:
        rows = Sessions(hub.store).listed()
    shown = [
        {
            "session": row.name,
            "account": row.account,
            "since": instant.format(row.created_at),
            "last": instant.format(row.seen_at),
        }
        for row in rows
    ]
    if as_json:
        typer.echo(json.dumps(shown))
        return
    table = Table("session", "account", "since", "last", box=None)
    for one in shown:
        table.add_row(*one.values())
    Console().print(table)


@sessions.command(epilog="Example: hub session end --account ana")
def end(
    session: Annotated[str, typer.Argument(help="As `hub session list` names it.")] = "",
    account: Annotated[str, typer.Option(help="All sessions of this account.")] = "",
) -> None:
    """End a session, or all of somebody. Their next click leads to the sign-in page."""
    if bool(session) == bool(account) or (session and len(session) < 8):
        raise BadAccount("name one session, with at least 8 characters, or `--account`", "")
    with _hub() as hub:
        whose = Sessions(hub.store).end(name=session, account=account)
        for one in sorted(set(whose)):
            acts.access(hub.appender, acts.SESSIONS_ENDED, BY, {"account": one, "count": whose.count(one)})
    typer.echo(f"ended: {len(whose)}")
    if not whose:
        raise typer.Exit(1)


def _check(hub: Hub, account: str, subject: str, role: str, name: str, stakeholder: str | None) -> None:
    """Raises `BadAccount` for what cannot be."""
    if topics.STAKEHOLDER_ID.fullmatch(account) is None:
        raise BadAccount("an account's id is of small letters, digits and hyphens, a letter first", "")
    if role not in ROLES:
        raise BadAccount(f"there is no role `{role}`", f"It is one of {', '.join(ROLES)}.")
    if not 0 < len(subject) <= 255 or not subject.isprintable():
        raise BadAccount("a subject has 1 to 255 printable characters", "")
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise BadAccount(f"a name has 1 to {NAME_CHARS_MAX} printable characters", "")
    if role == "case-manager" and stakeholder is None:
        raise BadAccount("a case manager works for an organisation", "Say `--stakeholder`.")
    if stakeholder is not None and not hub.register().registered(stakeholder):
        raise BadAccount(f"no stakeholder is called `{stakeholder}`", "See `hub agency list`.")


def _hub() -> Hub:
    return bootstrap.bootstrap(settings.load())
