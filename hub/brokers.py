"""`hub broker start | stop | status`: the embedded broker by itself, in the background."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from hub import broker, settings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The embedded broker by itself, in the background."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
EXAMPLE = "Example: hub broker {}"


@app.command(epilog=EXAMPLE.format("start"))
def start(as_json: AsJson = False) -> None:
    """Start it on the data folder (HUB_DATA), and print its address once it answers."""
    _say(broker.start(settings.load(), background=True).running, as_json)


@app.command(epilog=EXAMPLE.format("stop"))
def stop(as_json: AsJson = False) -> None:
    """Stop it. Its data stays."""
    stopped = broker.stop(settings.load())
    typer.echo(
        json.dumps({"stopped": stopped}) if as_json else "stopped" if stopped else "no broker was running"
    )


@app.command(epilog=EXAMPLE.format("status --json"))
def status(as_json: AsJson = False) -> None:
    """Print its address. Exit status 1 where none is running."""
    running = broker.status(settings.load())
    _say(running, as_json)
    if running is None:
        raise typer.Exit(1)


def _say(running: broker.Running | None, as_json: bool) -> None:
    if as_json:
        stated = {"running": running is not None} | (dataclasses.asdict(running) if running else {})
        typer.echo(json.dumps(stated))
    elif running is None:
        typer.echo("no broker is running")
    else:
        whose = "in the background" if running.owner is None else f"of process {running.owner}"
        typer.echo(f"{running.bootstrap}  (process {running.pid}, {whose}, since {running.started_at})")
