"""`hub topology`: the stages and the topics between them, drawn from the tables that the code runs on."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams import topology as stages


def topology(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Draw the stages and the topics between them. Touches no broker."""
    typer.echo(json.dumps(stages.described(), indent=2) if as_json else stages.draw())
