"""`hub audit`: the transparency log, for whoever has to prove something, or does not believe it."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hub import acts, asof, bootstrap, settings, tables, tokens
from hub.errors import OperatorError
from hub.ledger.check import Check, Counts, Finding
from hub.ledger.commitment import Recorded, Salts
from hub.ledger.merkle import Unproven
from hub.ledger.note import Checkpoint, NoteInvalid, Verifier, split
from hub.ledger.proof import Proof, Prover, Unplaced
from hub.ledger.reading import Topics
from hub.ledger.rows import Rows
from hub.ledger.tree import CHECKPOINT
from hub.lookup import Lookup
from hub.rebuild import here_and_now
from hub.replay import replay
from schemas.errors import Erased
from schemas.topics import stakeholder_id

BY: Final = "operator"
PROVEN: Final = "proof-made"
FINDINGS_MAX: Final = 50
RECORDS_MAX: Final = 1_000
STATEMENT_BYTES_MAX: Final = 32 * 1024 * 1024

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The transparency log: prove what happened, and check it.",
)
app.command("replay", epilog="Example: hub audit replay")(replay)
app.command("rebuild", epilog="Example: hub audit rebuild --yes")(here_and_now)
app.command(
    "as-of",
    epilog="""Example: hub audit as-of 2026-03-01T00:00:00Z --policy stricter.json

For one participant: hub audit as-of 2026-03-01T00:00:00Z --participant p-k2nm7p3q --without c-7h2m""",
)(asof.command)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class NothingToShow(OperatorError):
    """There is no checkpoint or no such event yet."""


class Different(OperatorError):
    """What was checked is not what it should be."""


@app.command(epilog="Example: hub audit key > hub-log.vkey")
def key(as_json: AsJson = False) -> None:
    """Print the key that verifies this hub's checkpoints. Give it to auditors by a way of its own."""
    with bootstrap.bootstrap(settings.load()) as hub:
        verifier = hub.log_signer.verifier
    typer.echo(json.dumps({"name": verifier.name, "key": str(verifier)}) if as_json else str(verifier))


@app.command(epilog="Example: hub audit checkpoint")
def checkpoint(as_json: AsJson = False) -> None:
    """Print the last checkpoint: how many records have their place, under which root, signed by whom."""
    note = _note(settings.load().log_dir)
    if not as_json:
        typer.echo(note, nl=False)
        return
    text, signatures = split(note)
    head = Checkpoint.of(text)
    said = {"origin": head.origin, "size": head.size, "root": head.root.hex(), "note": note}
    typer.echo(json.dumps(said | {"signed_by": [name for name, _, _ in signatures]}))


def _note(path: Path) -> str:
    try:
        return (path / CHECKPOINT).read_text("utf-8")
    except FileNotFoundError:
        raise NothingToShow("no checkpoint was published yet", "Start the hub, or wait a moment.") from None


@app.command(epilog="Example: hub audit token county-auditor")
def token(
    name: Annotated[str, typer.Argument(help="Who will use it, as an id.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Make a token with which an auditor or a witness may read the log, and do nothing else."""
    with bootstrap.bootstrap(settings.load()) as hub:
        made = tokens.mint(hub.store, f"auditor:{stakeholder_id(name)}", {tokens.AUDIT})
    typer.echo(json.dumps({"id": name, "token": made}) if as_json else made)


@app.command(epilog="Example: hub audit proof e-k2nm7p3q --to proofs")
def proof(
    event: Annotated[str, typer.Argument(help="The event's id in the hub.", show_default=False)],
    to: Annotated[
        Path | None, typer.Option("--to", help="Write what was recorded, and its proof, into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove each decision, intent and receipt about one event: what was recorded, and its place in the log.

    What was recorded is shown in clear with its salt: give it to who is entitled to it. That it was made is
    recorded, too.
    """
    with bootstrap.bootstrap(settings.load()) as hub, closing(Lookup(hub.client)) as lookup:
        records = list(_about(hub, lookup, event))
        if not records:
            raise NothingToShow(f"nothing is recorded about `{event}`")
        prover = Prover(hub.settings.log_dir, Salts(hub.vault))
        acts.access(hub.appender, PROVEN, BY, {"event": event}, records[0].participant)
        told = [_proven(prover, record, to) for record in records]
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told:
        where = f"leaf {one['leaf']} of {one['size']}" if "leaf" in one else str(one["why"])
        typer.echo(f"{one['record']:<24} {where}")


def _about(hub: bootstrap.Hub, lookup: Lookup, event: str) -> Iterator[Recorded]:
    """The records about an event, as the log has them."""
    found = (
        (tables.decisions, "decisions"),
        (tables.intents, "deliveries"),
        (tables.receipts, "deliveries"),
        (tables.withheld, "deliveries"),
    )
    with hub.store.read() as connection:
        rows = [
            (topic, row.partition, row.offset, row.participant)
            for table, topic in found
            for row in connection.execute(
                sa.select(table.c.partition, table.c.offset, table.c.participant)
                .where(table.c.event == event)
                .limit(RECORDS_MAX)
            )
        ]
    for topic, partition, offset, participant in sorted(rows):
        value = lookup.value(topic, partition, offset)
        if value is None:
            raise Different(f"`{topic}/{partition}/{offset}` is gone", "Run `hub audit verify`.")
        yield Recorded(topic, partition, offset, value, participant)


def _proven(prover: Prover, record: Recorded, to: Path | None) -> dict[str, Any]:
    try:
        made = prover.prove(record)
    except Unplaced as error:
        return {"record": record.name, "why": error.detail}
    except Erased as error:
        return {"record": record.name, "why": error.detail}
    if to is not None:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        plain = record.name.replace("/", "-")
        (to / f"{plain}.statement").write_bytes(record.statement)
        (to / f"{plain}.tlog-proof").write_text(made.text)
    size = Checkpoint.of(split(made.note)[0]).size
    said = {"record": record.name, "leaf": made.leaf, "size": size, "salt": made.salt.hex()}
    return said | {"statement": record.statement.hex(), "proof": made.text}


@app.command(epilog="Example: hub audit check proofs/decisions-3-17.statement --key hub-log.vkey")
def check(
    statement: Annotated[Path, typer.Argument(help="What was recorded; its proof lies beside it.")],
    key: Annotated[Path, typer.Option("--key", help="A file with the log's key.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Check one proof, of this hub or another's, from its files alone: no hub has to run."""
    try:
        with statement.open("rb") as file:
            said = file.read(STATEMENT_BYTES_MAX)
        head = Proof.of(statement.with_suffix(".tlog-proof").read_text("utf-8")).check(
            said, Verifier.of(key.read_text("utf-8"))
        )
    except (Unproven, NoteInvalid) as error:
        raise Different(f"`{statement.name}` is not proven: {error.detail}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Different(f"`{statement.name}` cannot be checked: {type(error).__name__}") from None
    said_of = {"record": said.split(b"\n", 1)[0].decode("utf-8", "replace"), "size": head.size}
    where = f"{said_of['record']} stands in the log `{head.origin}` of {head.size} records"
    typer.echo(json.dumps(said_of | {"origin": head.origin}) if as_json else where)


@app.command(epilog="Example: hub audit verify --json")
def verify(as_json: AsJson = False) -> None:
    """Check the whole log: its files, its checkpoints, every record, and the store's rows.

    Everything is read and built again beside the log, in a folder for temporary files. Ends with status 1
    where anything differs, and names what: the first first.
    """
    with (
        bootstrap.bootstrap(settings.load()) as hub,
        tempfile.TemporaryDirectory(prefix="hub-audit-") as beside,
    ):
        salts, verifier = Salts(hub.vault), hub.log_signer.verifier
        topics = Topics(hub.client)
        one = Check(topics, hub.settings.log_dir, Path(beside), verifier, salts)
        findings = _looked(one, Rows(hub.store, topics, Path(beside)), as_json)
    if as_json:
        said = {name: getattr(one.counts, name) for name in Counts.__dataclass_fields__}
        typer.echo(json.dumps(said | {"findings": [found._asdict() for found in findings]}))
    else:
        for found in findings:
            typer.echo(f"{found.where}: {found.why}")
        counts = one.counts
        typer.echo(
            f"{counts.leaves} leaves, {counts.checkpoints} checkpoints, {counts.records} records looked at; "
            f"{counts.waiting} wait for their place, of {counts.erased} the salt is gone"
        )
    if findings:
        raise typer.Exit(1)


def _looked(one: Check, rows: Rows, quiet: bool) -> list[Finding]:
    """What was found, at most `FINDINGS_MAX`."""
    findings: list[Finding] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as shown, rows:
        task = shown.add_task("the log")

        def seen(record: Recorded) -> None:
            rows.see(record)
            if one.counts.records % 1_000 == 0:
                shown.update(task, description=f"{record.topic}: {one.counts.records} records")

        for part in (one.log(), one.records(seen), rows.differences()):
            for found in part:
                findings.append(found)
                if len(findings) >= FINDINGS_MAX:
                    return findings
    return findings
