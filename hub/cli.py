"""The `hub` command: a table of names, each with the module that is imported only when that name is called.

Exit status: 0 done, 1 something is wrong, 2 called wrongly.
"""

from __future__ import annotations

import importlib.metadata
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from schemas.errors import HubError

if TYPE_CHECKING:
    from typer._click import Command, Context


class Entry(NamedTuple):
    """A command: what it does, where it is (`module:name`, a function or a Typer application), an example.

    An empty line begins a new line of the example as it is shown.
    """

    does: str
    target: str
    example: str


COMMANDS: Final = {
    "up": Entry("Run the hub: broker, stages, web.", "hub.up:up", "hub up"),
    "run": Entry("Run one process of it.", "hub.run:run", "hub run enforce"),
    "broker": Entry("Start, stop and look at the embedded broker.", "hub.brokers:app", "hub broker start"),
    "agency": Entry("Add stakeholders, and give them tokens.", "hub.agency:app", "hub agency list"),
    "person": Entry("Say who may sign in with a browser, and as what.", "hub.person:app", "hub person list"),
    "identity": Entry(
        "Make two participants who are one person one; take them apart.",
        "hub.identity:app",
        "hub identity list",
    ),
    "session": Entry("See who is signed in; sign them out.", "hub.person:sessions", "hub session list"),
    "publish": Entry(
        "Send a file of events through the gateway.", "hub.publish:publish", "hub publish events.jsonl"
    ),
    "decide": Entry(
        "Decide a file of cases, and touch nothing else.",
        "hub.decide:decide",
        """hub decide < cases.json > results.json

With cases.json:

{"policy": {"purposes": ["treatment"], "categories": ["service.housing"], "compartments": ["subject"],
 "matrix": [{"role": "clinic", "category": "service",
 "purposes": ["treatment"], "compartments": ["subject"]}]},
 "stakeholders": [{"id": "shelter"},
 {"id": "clinic", "role": "clinic", "agreement": {"from": "2026-01-01T00:00:00Z"}}],
 "cases": [{"id": "1", "directives": [], "event": {"participant": "p", "discloser": "shelter",
 "category": "service.housing", "occurred_at": "2026-03-01T09:00:00-08:00", "compartments": ["subject"]},
 "request": {"recipient": "clinic", "purpose": "treatment", "at": "2026-03-02T09:00:00-08:00"}}]}

results.json is, for nobody agreed to anything:

[{"id": "1", "effect": "deny", "reason": "no-consent", "basis": null, "grants": [],
 "compartments": [], "obligations": []}]""",
    ),
    "consent": Entry(
        "Consents as FHIR resources, in and out.",
        "hub.consents:app",
        "hub consent import-fhir consent.json",
    ),
    "explain": Entry(
        "Why an event was, or was not, shared.",
        "hub.explain:explain",
        """hub explain e-k2nm7p3q city-attorney

says, and below it the rule, the consent that came nearest, and the offsets of what was applied:

Not shared with the city attorney: the participant agreed to share housing services with them, but not for
 legal coordination.

The same in Spanish, for one purpose, as JSON:

hub explain e-k2nm7p3q city-attorney --purpose legal-coordination --language es --json

What if she had taken her consent back from the clinic:

hub explain e-k2nm7p3q tideline-clinic --if-revoked c-9x4m:tideline-clinic""",
    ),
    "report": Entry(
        "Who learned what about a participant.", "hub.report:app", "hub report disclosures p-k2nm7p3q"
    ),
    "request": Entry(
        "What participants ask for, and by when it is due.", "hub.request:app", "hub request list"
    ),
    "export": Entry(
        "Answer a subpoena or a consent, with what it covers and no more.",
        "hub.export:app",
        "hub export make p-k2nm7p3q court --purpose proceedings --on 26-1-00417-9 --to-file answer.zip",
    ),
    "erase": Entry(
        "Make everything about a participant unreadable, for good.",
        "hub.erasure:command",
        "hub erase p-k2nm7p3q",
    ),
    "keys": Entry(
        "Which key wraps all others, and how old it is; replace it.", "hub.keys:app", "hub keys rotate"
    ),
    "audit": Entry(
        "Prove what happened, to somebody who does not trust us.", "hub.audit:app", "hub audit verify"
    ),
    "quarantine": Entry(
        "Look at what was refused; try it again or discard it.", "hub.quarantine:app", "hub quarantine list"
    ),
    "rebuild": Entry(
        "Have the store's projections built again from the log.", "hub.rebuild:rebuild", "hub rebuild"
    ),
    "connector": Entry(
        "What goes out to whom; pause, resume, test.", "hub.connector:app", "hub connector list"
    ),
    "caseload": Entry(
        "Who works with whom, who covers, who leads.", "hub.caseload:app", "hub caseload list reach"
    ),
    "topology": Entry(
        "Draw the stages and the topics between them.", "hub.topology:topology", "hub topology"
    ),
    "doctor": Entry("Look for what is wrong, and say how to mend it.", "hub.doctor:doctor", "hub doctor"),
}


def load(name: str) -> Command:
    """The real command behind a name of the table. Imports its module."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    app = found
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name)(found)
    command = typer.main.get_command(app)
    command.name = name
    if "Example" not in f"{command.help}{command.epilog}":
        command.epilog = f"Example: {COMMANDS[name].example}"
    return command


class Lazy(TyperCommand):
    """Stands in the list of commands with its one line; becomes the real command when it is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: Any
    ) -> Context:
        """The real command's context: parsing, help and invocation are its own."""
        return load(str(self.name)).make_context(info_name, args, parent, **extra)


class Table(TyperGroup):
    """The group whose commands are those of `COMMANDS`; none of them has been imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: Lazy(name, help=entry.does, short_help=entry.does) for name, entry in COMMANDS.items()
        }


app = typer.Typer(
    cls=Table,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A data-sharing hub: agencies publish, participants decide, everything is accounted for.",
    epilog="Example: hub up",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        hot = find_spec("streams.enforce")
        compiled = hot is not None and str(hot.origin).endswith(".so")
        typer.echo(f"hub {importlib.metadata.version('diversion-hub')}{' (compiled)' if compiled else ''}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is."),
    ] = False,
) -> None:
    """The options of `hub` itself."""


def main() -> None:
    """The console script. Whatever a person can mend is one line on standard error, without a traceback."""
    try:
        app(prog_name="hub")
    except HubError as error:
        print(f"hub: {error.detail}", file=sys.stderr)  # noqa: T201  the one place that speaks for every command
        sys.exit(getattr(error, "exit_status", 1))


if __name__ == "__main__":
    main()
