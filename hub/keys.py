"""`hub keys`: which key-encryption key there is, and how old; replace it, or one participant's data key."""

import json
import os
import time
from typing import Annotated, Final

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hub import acts, bootstrap, kek, rewrapping, settings
from hub.tables import keks, keys
from hub.vault import DAY_MS
from schemas import instant

BY: Final = "operator"
ROTATED: Final = "keys-rotated"
RENEWED: Final = "key-renewed"

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The key that wraps all others, and participants' keys."
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list", epilog="Example: hub keys list")
def listed(as_json: AsJson = False) -> None:
    """Show which key-encryption keys there were, which is current, and how many keys each wraps."""
    with bootstrap.bootstrap(settings.load()) as hub:
        counts = (
            sa.select(keys.c.kek, sa.func.count()).where(keys.c.wrapped.is_not(None)).group_by(keys.c.kek)
        )
        with hub.store.read() as connection:
            wraps: dict[str, int] = {row[0]: row[1] for row in connection.execute(counts)}
            rows = connection.execute(sa.select(keks).order_by(keks.c.since)).all()
    now = time.time_ns() // 1_000_000
    found = [
        {
            "kek": row.id,
            "state": "current"
            if row.until is None
            else "destroyed"
            if row.destroyed_at
            else "to be destroyed",
            "since": instant.format(row.since),
            "days": (now - row.since) // DAY_MS,
            "wraps": wraps.get(row.id, 0),
        }
        for row in rows
    ]
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("key-encryption key", "is", "since", "days ago", "wraps", box=None)
    for one in found:
        table.add_row(*map(str, one.values()))
    Console().print(table)


@app.command(epilog="Example: hub keys rotate")
def rotate(
    participant: Annotated[
        str | None, typer.Option(help="Make this participant a new data key, and leave the others.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replace the key-encryption key: wrap every key by a new one, and destroy the old one. The hub may run.

    Cut short, it is finished by calling it again. A backup of the store from before opens nothing any more:
    make a new one, and back the new key-encryption key up, apart from it.

    With --participant that person's next data key seals from now on; what was sealed before opens as before.
    """
    with bootstrap.bootstrap(settings.load()) as hub:
        if participant is not None:
            version = hub.vault.renew(participant)
            acts.access(hub.appender, RENEWED, BY, {"version": version}, participant)
            said = {"participant": participant, "version": version}
            typer.echo(json.dumps(said) if as_json else f"Sealed from now on under version {version}.")
            return
        source = kek.load(hub.settings.data, os.environ, create=False)
        with Progress(console=Console(stderr=True), disable=as_json) as bar:
            task = bar.add_task("wrapping keys anew", total=None)
            done = rewrapping.rotate(
                hub.store, source, done=lambda count, of: bar.update(task, completed=count, total=of)
            )
        acts.access(
            hub.appender, ROTATED, BY, {"kek": done.kek, "keys": done.keys, "destroyed": done.destroyed}
        )
    if as_json:
        typer.echo(json.dumps(done._asdict()))
        return
    begun = " An earlier call had begun it." if done.resumed else ""
    typer.echo(f"Key-encryption key {done.kek} is current; {done.keys} keys were wrapped anew.{begun}")
    if done.destroyed:
        typer.echo(
            f"Destroyed: {', '.join(done.destroyed)}. Make a backup of the store and of the new key now."
        )
    if done.left:
        typer.echo(
            f"Not ours to destroy, and of no use any more: {', '.join(done.left)}. Take it away, and repeat."
        )
