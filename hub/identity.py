"""`hub identity`: two participants who are one person, and back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from hub import bootstrap, settings
from hub.errors import OperatorError
from hub.merging import Merging, Moved
from schemas import instant
from schemas.errors import Refused

BY: Final = "operator"

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Two participants who are one person.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask again.")]


class NotMerged(OperatorError):
    """What was asked cannot be done; the message says why."""


class NotConfirmed(OperatorError):
    """The participant's id was not typed again."""

    exit_status = 2


@app.command(epilog="Example: hub identity merge p-k2nm7p3q p-x81hd0ae")
def merge(
    survivor: Annotated[str, typer.Argument(help="The id that stays.", show_default=False)],
    absorbed: Annotated[str, typer.Argument(help="The id whose links go there.", show_default=False)],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make two participants one. Links move; restrictions and revocations are carried, consents never."""
    if not yes:
        said = f"{absorbed} gets no more news, all of it goes to {survivor}. Type the first id again"
        again = typer.prompt(said, err=True)
        if again.strip() != absorbed:
            raise NotConfirmed("that is another id; nothing was changed", "")
    with _merging() as merging:
        _told(merging.merge(survivor, absorbed, BY), as_json)


@app.command(epilog="Example: hub identity unmerge p-x81hd0ae")
def unmerge(
    absorbed: Annotated[str, typer.Argument(help="The id that was absorbed.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Take them apart: the links that were moved go back. Restrictions that were carried stay."""
    with _merging() as merging:
        _told(merging.unmerge(absorbed, BY), as_json)


@app.command("list", epilog="Example: hub identity list --json")
def list_(as_json: AsJson = False) -> None:
    """Print who is merged into whom."""
    with _merging() as merging:
        rows = [(one.absorbed, one.survivor, instant.format(one.at)) for one in merging.listed()]
    if as_json:
        typer.echo(json.dumps([dict(zip(("absorbed", "survivor", "at"), row, strict=True)) for row in rows]))
        return
    for absorbed, survivor, since in rows:
        typer.echo(f"{absorbed} is {survivor} since {since}")


def _told(moved: Moved, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(moved._asdict()))
    else:
        typer.echo(f"links moved: {moved.links}; restrictions carried: {moved.restrictions}")


@contextmanager
def _merging() -> Iterator[Merging]:
    with bootstrap.bootstrap(settings.load()) as hub:
        try:
            yield hub.merging
        except Refused as error:
            raise NotMerged(error.detail) from None
