"""`hub rebuild`: throw the store's projections away; the auditor builds them again from the log."""

from __future__ import annotations

import json
import time
from typing import Annotated, Final

import typer

from hub import acts, auditor, bootstrap, settings
from hub.errors import OperatorError
from hub.quarantine import BY
from hub.tables import PROJECTED

REBUILT: Final = "projections-rebuilt"


class NotConfirmed(OperatorError):
    """Nobody said yes."""


def rebuild(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Throw the projections in the store away, to have them built again from the log. It is recorded.

    For a store that was damaged. Nothing is lost: keys, tokens, accounts and what waits to be fetched are no
    projections, and stay. Until the auditor has read everything again, pages and reports are incomplete, and
    nobody is found by an agency's own id, so nothing about them is taken in.
    """
    if not yes and not typer.confirm("Throw the projections away, and have them built again from the log?"):
        raise NotConfirmed("nothing was changed", "Say yes, or give `--yes`.")
    with bootstrap.bootstrap(settings.load()) as hub:
        acts.access(hub.appender, REBUILT, BY, {"at": time.time_ns() // 1_000_000})
        auditor.rebuild(hub.store)
    if as_json:
        typer.echo(json.dumps({"tables": [table.name for table in PROJECTED]}))
    else:
        typer.echo(f"{len(PROJECTED)} tables are empty. The auditor fills them again; `hub up` runs one.")
