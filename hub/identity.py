"""`hub identity`: two participants who are one person, and back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from hub import bootstrap, settings
from hub.errors import OperatorError
from hub.linkage import LEAST
from hub.merging import Merging, Moved
from schemas import instant
from schemas.errors import Refused

BY: Final = "operator"
SURE: Final = 0.999  # nothing that a model says is surer

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


@app.command(epilog="Example: hub identity suggest reach --least 0.95")
def suggest(
    agency: Annotated[str, typer.Argument(help="Whose people are compared.", show_default=False)],
    least: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="How probable it has to be that they are one.")
    ] = LEAST,
    as_json: AsJson = False,
) -> None:
    """Print who of an organisation's people may have been entered twice, and why. It merges nobody.

    Compared is what the organisation itself sent: names and birth dates, opened for this alone and shown to
    nobody. That it was asked is recorded, and who is in a suggestion. Needs the extra `linkage`.
    """
    with _hub() as hub:
        if not hub.register().registered(agency):
            raise NotMerged(f"no stakeholder is called `{agency}`", "See `hub agency list`.")
        found = hub.suggestions.suggest(agency, BY, least)
    if as_json:
        typer.echo(
            json.dumps(
                [{**one._asdict(), "why": [why._asdict() for why in one.why]} for one in found.suggestions]
            )
        )
        return
    for one in found.suggestions:
        typer.echo(f"{one.one} and {one.other}: {min(one.probability, SURE):.1%}")
        for why in one.why:
            typer.echo(f"  {why.field}: {why.agrees} ({why.bits:+.1f} bits)")
    typer.echo(f"people compared: {found.people}; suggestions: {len(found.suggestions)}", err=True)


@app.command(epilog="Example: hub identity apart p-k2nm7p3q p-x81hd0ae")
def apart(
    one: Annotated[str, typer.Argument(help="An id.", show_default=False)],
    other: Annotated[str, typer.Argument(help="Another.", show_default=False)],
) -> None:
    """Say that these are two people: they are not suggested again."""
    with _hub() as hub:
        hub.suggestions.apart(one, other, BY)
    typer.echo(f"{one} and {other} are two")


def _told(moved: Moved, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(moved._asdict()))
    else:
        typer.echo(f"links moved: {moved.links}; restrictions carried: {moved.restrictions}")


@contextmanager
def _hub() -> Iterator[bootstrap.Hub]:
    with bootstrap.bootstrap(settings.load()) as hub:
        try:
            yield hub
        except Refused as error:
            raise NotMerged(error.detail) from None


@contextmanager
def _merging() -> Iterator[Merging]:
    with _hub() as hub:
        yield hub.merging
