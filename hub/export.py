"""`hub export`: what one recipient may have of one participant's records, signed; and how it is checked."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import typer

from consent import State
from consent.record import Placed
from hub import acts, bootstrap, exports, package, settings, tables
from hub.bootstrap import Hub
from hub.errors import OperatorError
from hub.exports import EVENTS_MAX, Answer, Scope
from hub.language import DEFAULT, LANGUAGES, tongue
from hub.ledger.commitment import Recorded, Salts, commitment
from hub.ledger.merkle import Unproven
from hub.ledger.note import NoteInvalid, Verifier
from hub.ledger.proof import Prover, Unplaced
from hub.ledger.reading import Topics
from hub.lookup import Lookup
from hub.report import period
from hub.summary import summary
from schemas import codec, instant, topics
from schemas.errors import Erased

BY: Final = "operator"
KEY: Final = "export"
PROCEEDINGS: Final = "proceedings"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Answer a subpoena or a consent with what it covers, and no more.",
    epilog="Example: hub export make p-k2nm7p3q court --purpose proceedings --on order-7 --to-file a.zip",
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class NothingToExport(OperatorError):
    """What was asked about is not known."""


class TooMuch(OperatorError):
    """More records than one export holds."""


class Changed(OperatorError):
    """Consent changed between the decision and the file; nothing was written."""


@app.command(epilog="Example: hub export key > hub-export.pem")
def key(as_json: AsJson = False) -> None:
    """Print the key that verifies this hub's exports, in PEM. Give it to recipients by a way of its own."""
    with bootstrap.bootstrap(settings.load()) as hub:
        pem = package.public_pem(hub.vault.signing_seed(KEY))
    typer.echo(json.dumps({"key": pem}) if as_json else pem, nl=as_json)


@app.command(
    epilog="""Example: hub export make p-k2nm7p3q court --purpose proceedings --on order-7 --to-file a.zip

Only housing, of one quarter: hub export make p-k2nm7p3q clinic --purpose treatment --on c-7h2m \
--category service.housing --from 2026-01-01 --to 2026-03-31 --to-file answer"""
)
def make(
    participant: Annotated[str, typer.Argument(help="The participant's id in the hub.", show_default=False)],
    recipient: Annotated[str, typer.Argument(help="The stakeholder whom it is for.", show_default=False)],
    purpose: Annotated[str, typer.Option(help="What for: one of the policy's purposes.")],
    ground: Annotated[str, typer.Option("--on", help="The order, emergency or consent that it rests on.")],
    to: Annotated[Path, typer.Option("--to-file", help="A new .zip, or a new folder.")],
    since: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD.")] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Last day, YYYY-MM-DD; today if not given.")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Only these kinds, and those below them.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option("--type", help="Only these types of event.")] = None,
    statements: Annotated[
        bool,
        typer.Option("--statements", help="Show the recorded decisions in full: they name other recipients."),
    ] = False,
    language: Annotated[str, typer.Option(help="Of the summary: `en` or `es`.")] = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Export what this recipient may have for this purpose on this ground; everything is decided now.

    What may not go is not in it. How many records were left out, and why, is printed; it is in the package
    itself only for `proceedings`, since otherwise a recipient learns nothing of what was withheld. What is
    exported is recorded before the first byte is written, and counts as disclosed.
    """
    if language not in LANGUAGES:
        raise typer.BadParameter(f"expected one of {', '.join(LANGUAGES)}", param_hint="--language")
    if to.exists():
        raise typer.BadParameter("it exists already", param_hint="--to-file")
    settled = settings.load()
    now = bootstrap.now_ms()
    first, last = period(since, until, ZoneInfo(settled.time_zone), now)
    scope = Scope(
        participant,
        recipient,
        purpose,
        ground,
        first if since else 0,
        last,
        tuple(category or ()),
        tuple(kind or ()),
    )
    with bootstrap.bootstrap(settled) as hub, closing(Lookup(hub.client)) as lookup:
        said = exported(hub, lookup, scope, to, now, language=language, statements=statements)
    if as_json:
        typer.echo(json.dumps(said))
        return
    typer.echo(f"{said['records']} records are in {to}; that they left is {said['recorded']}")
    for reason, count in said["left_out"].items():
        typer.echo(f"left out: {count} by `{reason}`")


def exported(
    hub: Hub, lookup: Lookup, scope: Scope, to: Path, now: int, *, language: str, statements: bool
) -> dict[str, Any]:
    """Decides, records, looks whether consent is still what it was, and writes.

    Raises `NothingToExport`, `TooMuch`, `Changed`, `Unavailable`; then nothing was written.
    """
    register = hub.register()
    if scope.recipient not in register.stakeholders:
        raise NothingToExport(f"`{scope.recipient}` is no stakeholder", "See `hub agency list`.")
    if scope.purpose not in register.terms("purposes"):
        known = ", ".join(sorted(register.terms("purposes")))
        raise NothingToExport("the policy has no such purpose", f"It has {known}.")
    partition = topics.partition_of(scope.participant, hub.settings.partitions)
    told = _told(hub.client, partition, scope.participant)
    state = State([one for _, one in told])
    governance = register.at(register.offset)
    answer = exports.answered(
        _events(hub, lookup, scope), scope, now, state, governance, hub.vault, hub.crosswalk
    )
    words = tongue(language, hub.settings.time_zone)
    files = {
        package.MANIFEST: package.as_json(_manifest(answer, register.names())),
        package.RECORDS: package.as_json([one.view for one in answer.pieces]),
        package.SUMMARY: summary(answer, register.names(), words).encode(),
        package.PROOFS: package.as_json(_proofs(hub, lookup, answer, statements=statements)),
    }
    whole = package.signed(files, hub.vault.signing_seed(KEY))
    digest = hashlib.sha256(whole[package.SUMS]).hexdigest()
    body = exports.recorded(answer, digest) | {"statements": statements}
    place = acts.access(hub.appender, acts.EXPORTED, BY, body, scope.participant)
    if len(_told(hub.client, partition, scope.participant)) != len(told):
        acts.access(hub.appender, acts.EXPORT_DROPPED, BY, {"about": digest}, scope.participant)
        raise Changed("consent changed meanwhile, so nothing was written", "Run it again.")
    package.write(whole, to)
    acts.access(hub.appender, acts.EXPORT_WRITTEN, BY, {"about": digest}, scope.participant)
    return {
        "records": len(answer.pieces),
        "left_out": dict(answer.left_out),
        "recorded": f"{place.topic}/{place.partition}/{place.offset}",
        "sha256": digest,
    }


def _told(client: Mapping[str, Any], partition: int, participant: str) -> list[tuple[int, Placed]]:
    """A participant's directives, to the end of the log as it is now."""
    found = []
    for record in Topics(client).read("consent", partition):
        if record.key == participant.encode():
            one = codec.directive(record.key, record.value)
            found.append((record.offset, Placed(record.offset, one["id"], json.loads(one["body"]))))
    return found


def _events(hub: Hub, lookup: Lookup, scope: Scope) -> Iterator[Mapping[str, Any]]:
    """The events that are asked for, as the log has them. Where they are, the store says."""
    columns = (tables.decisions.c.event, tables.decisions.c.position)
    query = (
        sa.select(*columns)
        .where(
            tables.decisions.c.participant == scope.participant,
            tables.decisions.c.cause == "first",
            tables.decisions.c.occurred_at >= scope.since,
            tables.decisions.c.occurred_at <= scope.until,
        )
        .limit(EVENTS_MAX + 1)
    )
    with hub.store.read() as connection:
        rows = connection.execute(query).all()
    if not rows:
        raise NothingToExport("nothing is recorded about this participant in this period")
    if len(rows) > EVENTS_MAX:
        raise TooMuch(f"more than {EVENTS_MAX:,} records", "Ask for shorter periods, with --from and --to.")
    for row in rows:
        place = row.position
        value = lookup.value(place["topic"], place["partition"], place["offset"])
        if value is None:
            raise NothingToExport(f"the record of `{row.event}` is gone", "Run `hub audit verify`.")
        yield codec.decode_as("Event", value)


def _manifest(answer: Answer, names: Mapping[str, str]) -> dict[str, Any]:
    scope = answer.scope
    said: dict[str, Any] = {
        "made_at": instant.format(answer.at),
        "recipient": {"id": scope.recipient, "name": names.get(scope.recipient, scope.recipient)},
        "purpose": scope.purpose,
        "ground": exports.shown_ground(answer),
        "bases": sorted({one.decision.basis or "" for one in answer.pieces}),
        "from": instant.format(scope.since),
        "to": instant.format(scope.until),
        "categories": list(scope.categories) or "all",
        "types": list(scope.types) or "all",
        "records": len(answer.pieces),
        "files": list(package.NAMES),
    }
    return said | ({"left_out": dict(answer.left_out)} if scope.purpose == PROCEEDINGS else {})


def _proofs(hub: Hub, lookup: Lookup, answer: Answer, *, statements: bool) -> dict[str, Any]:
    """That the decisions, intents and receipts behind each record stand in the log."""
    salts, found, waiting = Salts(hub.vault), [], []
    try:
        prover = Prover(hub.settings.log_dir, salts)
    except (Unplaced, NoteInvalid):
        return {"checkpoint": None, "proofs": [], "waiting": ["no checkpoint was published yet"]}
    note = None
    for number, piece in enumerate(answer.pieces):
        for record in _behind(hub, lookup, piece.event, answer.scope):
            try:
                made = prover.prove(record)
            except (Unproven, Erased) as error:
                waiting.append(f"record {number}: {error.code}")
                continue
            note = made.note
            shown = package.proof_of(made.leaf, commitment(made.salt, record.statement), made.hashes)
            if statements:
                shown |= {"salt": made.salt.hex(), "statement": record.statement.hex()}
            found.append({"record": number, "of": record.topic, **shown})
    return {"checkpoint": note, "proofs": found, "waiting": waiting}


def _behind(hub: Hub, lookup: Lookup, event: str, scope: Scope) -> list[Recorded]:
    places: list[tuple[sa.Table, str, sa.ColumnElement[bool]]] = [(tables.decisions, "decisions", sa.true())]
    for table in (tables.intents, tables.receipts):
        places.append((table, "deliveries", table.c.stakeholder == scope.recipient))
    found = []
    with hub.store.read() as connection:
        rows = [
            (topic, row.partition, row.offset)
            for table, topic, more in places
            for row in connection.execute(
                sa.select(table.c.partition, table.c.offset).where(table.c.event == event, more).limit(100)
            )
        ]
    for topic, partition, offset in sorted(rows):
        value = lookup.value(topic, partition, offset)
        if value is not None:
            found.append(Recorded(topic, partition, offset, value, scope.participant))
    return found


@app.command(epilog="Example: hub export check answer.zip --key hub-export.pem --log-key hub-log.vkey")
def check(
    path: Annotated[Path, typer.Argument(help="The zip or the folder.", show_default=False)],
    key: Annotated[Path, typer.Option("--key", help="The export's key, in PEM.", show_default=False)],
    log_key: Annotated[Path | None, typer.Option("--log-key", help="The log's key, for the proofs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a package, of this hub or another's, from its files and the keys alone: no hub has to run."""
    try:
        pem = key.read_bytes()
        log = None if log_key is None else Verifier.of(log_key.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, NoteInvalid) as error:
        raise typer.BadParameter(f"a key cannot be read: {type(error).__name__}") from None
    found = package.check(package.read(path), pem, log)
    said = {"records": found.manifest["records"], "proven": found.proven, "waiting": found.waiting}
    if as_json:
        typer.echo(json.dumps(said | {"manifest": dict(found.manifest)}))
        return
    proofs = f"{found.proven} proofs hold" if log is not None else "proofs were not checked: give --log-key"
    typer.echo(f"{said['records']} records are as they were signed; {proofs}, {found.waiting} wait")
