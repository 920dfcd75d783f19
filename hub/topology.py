"""`hub topology`: the stages and the topics between them, drawn from the tables that the code runs on."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from streams import topology as table


def topology(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Draw the stages and the topics between them. Touches no broker."""
    if as_json:
        typer.echo(
            json.dumps({name: dataclasses.asdict(stage) for name, stage in table.STAGES.items()}, indent=2)
        )
    else:
        typer.echo(table.draw(), nl=False)
