"""`hub connector`: the ways out. What waits and why; pause, resume, and a marked sample. Each is recorded."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from connectors.adapter import Closing, Outcome, Outgoing
from connectors.log import KafkaHistory
from connectors.projection import SOURCE
from connectors.schedule import awake_ms
from connectors.views import TOPIC as VIEWS
from hub import acts, bootstrap, pausing, settings, stages, ways
from hub.errors import OperatorError
from hub.sent import SentFiles
from schemas import codec, instant
from schemas.errors import BadTime

BY: Final = "operator"
RESENT: Final = "connector-resent"
TESTED: Final = "connector-tested"
HERE: Final = frozenset({"alerts", "pull"})  # nothing is sent by these: it waits here

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="What goes out to whom, and what stands in its way."
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Who = Annotated[str, typer.Argument(help="The stakeholder's id.", show_default=False)]
By = Annotated[str, typer.Argument(help="The adapter: webhook, pull, feed, sftp …", show_default=False)]


class NoSuchWay(OperatorError):
    """The stakeholder has no subscription by that adapter."""

    exit_status = 2


class WrongCall(OperatorError):
    """What is asked for is not said, or said twice."""

    exit_status = 2


def _hub() -> bootstrap.Hub:
    return bootstrap.bootstrap(settings.load())


@app.command("list", epilog="Example: hub connector list --json")
def list_(as_json: AsJson = False) -> None:
    """Print every way out: what waits, and what became of the rest in the last seven days."""
    with _hub() as hub:
        rows = [_row(one) for one in _ways(hub)]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    names = (
        "stakeholder",
        "adapter",
        "state",
        "waits",
        "next try",
        "delivered",
        "withheld",
        "failed",
        "last",
    )
    table = Table(*(Column(name, no_wrap=True) for name in names), box=None)
    for row in rows:
        counts = (row["delivered"], row["withheld"], row["failed"] + row["refused"])
        table.add_row(
            row["stakeholder"],
            row["adapter"],
            f"{row['state']} by {row['by']}" if row["by"] else row["state"],
            str(row["waits"]),
            (row["next_at"] or "")[:16],
            *map(str, counts),
            row["why"] or row["code"] or "",
        )
    Console(width=max(Console().width, 120)).print(table)


@app.command(epilog="Example: hub connector show harbor-house webhook --delivery d-5b1f…")
def show(
    stakeholder: Who,
    adapter: By,
    delivery: Annotated[str | None, typer.Option(help="All that is recorded about one delivery.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print how the newest attempts ended, or one delivery from its intent on. Never what it said."""
    with _hub() as hub:
        _known(hub, stakeholder, adapter)
        rows = [
            one | {"at": instant.format(one["at"])}
            for one in (
                ways.recent(hub.store, stakeholder, adapter)
                if delivery is None
                else ways.delivery(hub.store, delivery)
            )
            if (one["stakeholder"], one["adapter"]) == (stakeholder, adapter)
        ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        said = {name: row[name] for name in row if name not in ("stakeholder", "adapter", "at")}
        typer.echo(f"{row['at']}  " + "  ".join(f"{name}={value}" for name, value in said.items()))


@app.command(epilog="Example: hub connector pause harbor-house webhook --reason 'moving house'")
def pause(
    stakeholder: Who,
    adapter: By,
    reason: Annotated[str, typer.Option(help="Why; it is recorded, so name no person.")] = "",
) -> None:
    """Let deliveries wait, until `hub connector resume`. What is under way still ends."""
    with _hub() as hub:
        _known(hub, stakeholder, adapter)
        now_ms = bootstrap.now_ms()
        pausing.pause(hub.appender, hub.register(), stakeholder, adapter, reason, BY, now_ms)
    typer.echo(f"paused: deliveries to {stakeholder} by {adapter} wait, for 30 days at most")


@app.command(epilog="Example: hub connector resume harbor-house webhook")
def resume(stakeholder: Who, adapter: By) -> None:
    """Deliver what waits, each decided anew; also what the hub had paused by itself."""
    with _hub() as hub:
        _known(hub, stakeholder, adapter)
        pausing.resume(hub.appender, hub.register(), stakeholder, adapter, BY)
    typer.echo(f"resumed: {stakeholder} by {adapter}")


@app.command(epilog="Example: hub connector resend harbor-house webhook --since 2026-11-20T00:00:00Z")
def resend(
    stakeholder: Who,
    adapter: By,
    delivery: Annotated[str | None, typer.Option(help="One delivery, by its key.")] = None,
    since: Annotated[str | None, typer.Option(help="All that began since then, RFC 3339.")] = None,
    as_json: AsJson = False,
) -> None:
    """Deliver once more what was delivered, each decided anew, with the same id as the first time.

    Reaches back 30 days, as far as the outbox does.
    """
    if (delivery is None) == (since is None):
        raise WrongCall("say either `--delivery` or `--since`")
    try:
        since_ms = 0 if since is None else instant.parse(since)
    except BadTime as error:
        raise WrongCall(f"`--since`: {error.detail}") from None
    with _hub() as hub:
        _known(hub, stakeholder, adapter)
        found = ways.begun(hub.store, stakeholder, adapter, delivery, since_ms)
        told = {"about": f"{stakeholder}/{adapter}", "deliveries": len(found)}
        acts.access(hub.appender, RESENT, BY, told)
        SentFiles(hub.store).again(stakeholder, [one.key for one in found])
        for one in found:
            asked = {
                "id": one.key,
                "stakeholder": stakeholder,
                "adapter": adapter,
                "participant": one.participant,
                "outbox_offset": one.outbox_offset,
                "at": bootstrap.now_ms(),
            }
            hub.appender.append(VIEWS, one.participant, codec.encode("Resend", asked))
    more = len(found) >= ways.SENT_MAX
    if as_json:
        typer.echo(json.dumps({"deliveries": len(found), "more": more}))
    else:
        typer.echo(f"asked for {len(found)} deliveries; each is decided anew")
        if more:
            typer.echo("there are more: repeat it with a later `--since`")
    if not found:
        raise typer.Exit(1)


@app.command("test", epilog="Example: hub connector test harbor-house webhook")
def try_out(stakeholder: Who, adapter: By, as_json: AsJson = False) -> None:
    """Send one sample, marked as such and about nobody, at once. Exit status 1 where it does not arrive."""
    if adapter in HERE:
        raise NoSuchWay(f"by {adapter} nothing is sent: it waits at the hub until somebody looks or fetches")
    with _hub() as hub:
        kept = _known(hub, stakeholder, adapter)
        acts.access(hub.appender, TESTED, BY, {"about": f"{stakeholder}/{adapter}"})
        outcome = asyncio.run(_sent(hub, sample(stakeholder, adapter, kept, hub.settings.send_ms_max)))
    found = {"outcome": outcome.state, "code": outcome.code}
    typer.echo(json.dumps(found) if as_json else f"{outcome.state} ({outcome.code})")
    if outcome.state != "delivered":
        raise typer.Exit(1)


def sample(stakeholder: str, adapter: str, kept: Mapping[str, Any], send_ms_max: int) -> Outgoing:
    """A delivery about nobody: `sample` is true, and its ids say so."""
    name = f"sample-{secrets.token_hex(8)}"
    said = "This is a sample and about nobody."
    view = {
        "id": name,
        "source": SOURCE,
        "type": "contact",
        "participant": name,
        "sample": True,
        "purposes": [],
        "obligations": [],
        "notices": [],
        "consent_scope": [],
        "data": {"subject": {"name": said}},
    }
    deadline_ms = awake_ms() + send_ms_max
    return Outgoing(name, stakeholder, adapter, 1, kept, view, {}, (), {"name": said}, deadline_ms)


async def _sent(hub: bootstrap.Hub, outgoing: Outgoing) -> Outcome:
    adapters = stages.adapters(hub)
    try:
        async with asyncio.timeout_at(
            asyncio.get_running_loop().time() + (outgoing.deadline_ms - awake_ms()) / 1000
        ):
            return await adapters[outgoing.adapter].deliver(outgoing)
    except TimeoutError:
        return Outcome("failed", "timeout")
    finally:
        for adapter in adapters.values():
            if isinstance(adapter, Closing):
                await adapter.aclose()


def _ways(hub: bootstrap.Hub) -> list[ways.Way]:
    backlog = ways.Backlog(lambda: KafkaHistory(hub.client), hub.settings.partitions, bootstrap.now_ms)
    try:
        return ways.ways(hub.store, hub.register(), backlog.items(), bootstrap.now_ms())
    finally:
        backlog.close()


def _row(way: ways.Way) -> dict[str, Any]:
    times = {name: getattr(way, name) for name in ("next_at", "last_at", "since")}
    return way._asdict() | {name: instant.format(at) if at else None for name, at in times.items()}


def _known(hub: bootstrap.Hub, stakeholder: str, adapter: str) -> Mapping[str, Any]:
    """The settings of that way. Raises `NoSuchWay`."""
    for one in hub.register().subscriptions.values():
        if (one["stakeholder"], one["adapter"]) == (stakeholder, adapter):
            found: Mapping[str, Any] = one["settings"]
            return found
    raise NoSuchWay(f"`{stakeholder}` has no subscription by `{adapter}`", "See `hub connector list`.")
