"""`hub quarantine`: what was refused, and why; to look at, try again, discard. Each of these is recorded."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Annotated, Any, Final

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table

from hub import acts, bootstrap, settings
from hub.errors import OperatorError
from hub.lookup import Lookup
from hub.tables import acts as acted
from hub.tables import quarantine
from schemas import cloudevents, codec, instant, topics
from schemas.errors import Erased, HubError
from streams.quarantine import HEADERS, TOPIC, aad

LIST_ROWS_MAX: Final = 1_000
BY: Final = "operator"
SHOWN: Final = "quarantine-shown"
RETRIED: Final = "quarantine-retried"
DISCARDED: Final = "quarantine-discarded"
STATES: Final = {RETRIED: "retried", DISCARDED: "discarded"}

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What was refused, and why.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="The reference, from `hub quarantine list`.", show_default=False)]


class CannotRetry(OperatorError):
    """What was refused cannot be tried again as it is."""


class NoSuchRecord(OperatorError):
    """There is no refused record of this reference."""

    exit_status = 2


class Quarantine:
    """The refused records: listed from the store, their originals from the log."""

    def __init__(self, hub: bootstrap.Hub) -> None:
        """In: the parts of this process."""
        self._hub = hub
        self._lookup = Lookup(hub.client)

    def close(self) -> None:
        """Lets go of the connection to the log."""
        self._lookup.close()

    def rows(
        self, agency: str | None = None, reason: str | None = None, state: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Refused records, newest first; `state` is open, retried or discarded."""
        latest = (
            sa.select(acted.c.what)
            .where(acted.c.about == quarantine.c.id, acted.c.what.in_(STATES))
            .order_by(acted.c.at.desc(), acted.c.offset.desc())
            .limit(1)
            .scalar_subquery()
        )
        stands = sa.case(STATES, value=latest, else_="open").label("state")
        query = sa.select(quarantine, stands).order_by(quarantine.c.at.desc(), quarantine.c.id).limit(limit)
        for column, wanted in ((quarantine.c.agency, agency), (quarantine.c.reason, reason), (stands, state)):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._hub.store.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def original(self, reference: str) -> tuple[dict[str, Any], bytes, list[tuple[str, str | None]]]:
        """The record, its original as it came, and the headers that came with it. Looking is recorded.

        Raises `NoSuchRecord`, and `Erased` once the original's key was destroyed by age.
        """
        record = self.record(reference)
        acts.access(self._hub.appender, SHOWN, BY, {"quarantine": reference})
        return record, *self._opened(record)

    def retry(self, reference: str) -> str:
        """Puts the original into its agency's inbox again; out: the inbox. Raises `CannotRetry`."""
        record = self.record(reference)
        agency = record["agency"]
        if agency is None:
            raise CannotRetry(
                "this did not come from an agency's inbox", "Mend its cause; it is decided anew."
            )
        original, headers = self._opened(record)
        inbox = topics.inbox(agency)
        value = {
            "agency": agency,
            "via": "retry",
            "received_at": time.time_ns() // 1_000_000,
            "reference": reference,
            "sealed": self._hub.vault.hub("originals").seal(inbox.encode(), _structured(original, headers)),
        }
        self._hub.appender.append(inbox, None, codec.encode("Inbound", value))
        acts.access(self._hub.appender, RETRIED, BY, {"quarantine": reference})
        return inbox

    def discard(self, reference: str) -> None:
        """Says that nobody will try this again. The original stays until its time is over."""
        self.record(reference)
        acts.access(self._hub.appender, DISCARDED, BY, {"quarantine": reference})

    def record(self, reference: str) -> dict[str, Any]:
        """The record as the log has it, its original still sealed. Raises `NoSuchRecord`."""
        query = sa.select(quarantine.c.partition, quarantine.c.offset).where(quarantine.c.id == reference)
        with self._hub.store.read() as connection:
            row = connection.execute(query).one_or_none()
        value = self._lookup.value(TOPIC, row.partition, row.offset) if row else None
        if value is None:
            raise NoSuchRecord(f"nothing is in quarantine as `{reference}`", "See `hub quarantine list`.")
        return codec.decode_as("Quarantined", value)

    def _opened(self, record: Mapping[str, Any]) -> tuple[bytes, list[tuple[str, str | None]]]:
        sealer, bound = self._hub.vault.hub("originals"), aad(record["id"])
        if not record["sealed"]:
            return b"", []
        original = sealer.open(bound, record["sealed"])
        headers = record["headers"]
        return original, json.loads(sealer.open(bound + HEADERS, headers)) if headers else []


def _structured(original: bytes, headers: list[tuple[str, str | None]]) -> bytes:
    """The original as one structured event. Raises `CannotRetry` where no event can be made of it."""
    try:
        if not headers:
            cloudevents.structured(original)
            return original
        named = {name: value or "" for name, value in headers}
        if any(name.startswith("ce_") for name in named):
            pairs = [(name, None if value is None else value.encode()) for name, value in headers]
            return cloudevents.dump(cloudevents.parse_kafka(pairs, original))
        return cloudevents.dump(cloudevents.parse_binary(named, original))
    except HubError as error:
        raise CannotRetry(f"it is no event: {error.detail}", "Have its sender send it anew.") from None


@contextmanager
def _quarantine() -> Iterator[Quarantine]:
    with bootstrap.bootstrap(settings.load()) as hub, closing(Quarantine(hub)) as found:
        yield found


@app.command("list", epilog="Example: hub quarantine list --state open --reason unknown-category")
def list_(
    agency: Annotated[str | None, typer.Option(help="Only from this agency.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason.")] = None,
    state: Annotated[str | None, typer.Option(help="Only open, retried or discarded ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIST_ROWS_MAX, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Print what was refused, newest first: where, why, and what became of it."""
    with _quarantine() as found:
        rows = found.rows(agency, reason, state, limit)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("reference", "when", "agency", "stage", "reason", "where", "state", box=None)
    for row in rows:
        when = instant.format(row["at"])
        where = row["path"] or ""
        table.add_row(row["id"], when, row["agency"] or "", row["stage"], row["reason"], where, row["state"])
    Console().print(table)


@app.command(epilog="Example: hub quarantine show q-inbox.reach-0-17 --original > event.json")
def show(
    reference: Id,
    original: Annotated[bool, typer.Option("--original", help="Print the original, as it came.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print one refused record. The original is about somebody: that you looked is recorded."""
    with _quarantine() as found:
        if original:
            _, body, headers = found.original(reference)
            if headers:
                typer.echo(json.dumps(dict(headers)), err=True)
            sys.stdout.buffer.write(body)
            return
        record = found.record(reference)
    said = {name: value for name, value in record.items() if name not in ("sealed", "headers")}
    if as_json:
        typer.echo(json.dumps(said))
        return
    for name, value in (said | {"at": instant.format(said["at"])}).items():
        typer.echo(f"{name:<10} {value if value is not None else ''}")


@app.command(epilog="Example: hub quarantine retry q-inbox.reach-0-17")
def retry(reference: Id, as_json: AsJson = False) -> None:
    """Put one refused record into its agency's inbox again, once what was wrong has been mended."""
    with _quarantine() as found:
        try:
            inbox = found.retry(reference)
        except Erased:
            raise CannotRetry("its key was destroyed by age", "Have its sender send it anew.") from None
    said = {"id": reference, "inbox": inbox}
    typer.echo(json.dumps(said) if as_json else f"{reference} is in {inbox} again")


@app.command(epilog="Example: hub quarantine discard q-inbox.reach-0-17")
def discard(reference: Id, as_json: AsJson = False) -> None:
    """Say that one refused record will not be tried again."""
    with _quarantine() as found:
        found.discard(reference)
    typer.echo(
        json.dumps({"id": reference, "state": "discarded"}) if as_json else f"{reference} is discarded"
    )
