"""`hub agency`: who takes part. Adds stakeholders, alone or from a file, and gives their programs tokens."""

import asyncio
import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from connectors.fence import Answer, Fence, Narrowing
from connectors.follower import Follower
from hub import bootstrap, tokens
from hub.clients import as_aiokafka
from hub.credentials import AsJson, BadDescription, Id, on_kafka, opened, say_kafka
from hub.credentials import app as credentials
from hub.registration import STAKEHOLDERS_MAX, Description, described
from schemas import instant

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
BY: Final = "operator"
FENCE_MS_MAX: Final = 15_000
FENCES: Final = {
    "closed": "nothing begins to be delivered on what stood before",
    "closing": "not every owner has acknowledged it yet; is the hub running?",
    "closed-in-doubt": "a delivery on what stood before is in doubt",
}

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Who takes part, and how their programs sign in."
)
app.add_typer(credentials)


@app.command(
    epilog="Example: hub agency add harbor-house --role service-provider --name 'Harbor House' --from "
    "2026-01-01T00:00:00Z --treating --webhook https://example.org/hook --subscribe care-coordination:service"
)
def add(
    stakeholder: Id,
    role: Annotated[str, typer.Option(help="One of the policy's roles.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    since: Annotated[str, typer.Option("--from", help="First day of its agreement, as RFC 3339.")],
    until: Annotated[str | None, typer.Option(help="Last day of its agreement; open if left out.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Its postal address, as accountings of disclosures have to name it.")
    ] = None,
    treating: Annotated[bool, typer.Option("--treating", help="A treating provider.")] = False,
    medical: Annotated[bool, typer.Option("--medical", help="Medical personnel.")] = False,
    part2: Annotated[bool, typer.Option("--part2", help="A 42 CFR Part 2 program.")] = False,
    webhook: Annotated[str | None, typer.Option(help="Where to deliver to it.")] = None,
    webhook_signature: Annotated[str, typer.Option(help="hmac or ed25519.")] = "hmac",
    kafka: Annotated[bool, typer.Option("--kafka", help="Its own clients use its topics.")] = False,
    fhir: Annotated[str | None, typer.Option(help="Its FHIR server's base address.")] = None,
    sftp: Annotated[str | None, typer.Option(help="sftp://user@host/folder: where to put files.")] = None,
    sftp_host_key: Annotated[
        str | None, typer.Option(help="That server's public key, as `ssh-keyscan` prints it after the host.")
    ] = None,
    sftp_every: Annotated[str, typer.Option(help="A file for each hour, or day; or at-once.")] = "hour",
    sftp_format: Annotated[str, typer.Option(help="csv or jsonl.")] = "csv",
    sftp_age: Annotated[
        list[str] | None, typer.Option(help="A public key of age to encrypt files for. Repeatable.")
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="Send it the published numbers, as PDF: each month, or quarter.")
    ] = None,
    report_mail: Annotated[
        str | None, typer.Option(help="To which address; into its SFTP folder if left out.")
    ] = None,
    report_language: Annotated[str, typer.Option(help="en or es.")] = "en",
    subscribe: Annotated[
        list[str] | None,
        typer.Option(help="purpose:category,category[:adapter]; webhook if it names no adapter. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a stakeholder, or change one to what is said here. Prints its token and secret, this once."""
    source = {
        "id": stakeholder,
        "name": name,
        "role": role,
        "agreement": {"from": since, "until": until},
        "address": address,
        "treating": treating,
        "medical": medical,
        "part2": part2,
        "webhook": webhook,
        "webhook_signature": webhook_signature,
        "fhir": fhir,
        "kafka": kafka,
        "sftp": None
        if sftp is None
        else {
            "url": sftp,
            "host_key": sftp_host_key or "",
            "every": sftp_every,
            "format": sftp_format,
            "age": sftp_age or [],
        },
        "report": None
        if report is None and report_mail is None
        else {"every": report or "month", "language": report_language, "mail": report_mail},
        "subscriptions": [_subscription(one) for one in subscribe or ()],
    }
    with opened() as hub:
        _registered(hub, [described(source)], as_json)


@app.command(epilog="Example: hub agency load county.toml --json")
def load(
    file: Annotated[
        Path, typer.Argument(help="TOML or JSON with a list `stakeholder`.", exists=True, dir_okay=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Add, or bring up to date, every stakeholder of a file. Prints new tokens and secrets, this once.

    Each has `id`, `name`, `role`, `agreement = {from, until}`, perhaps `treating`, `medical`, `part2`,
    `webhook`, `webhook_signature`, `fhir`, `kafka`, `sftp = {url, host_key, every, format, age}`,
    `report = {every, language, mail}` and `subscriptions = [{purpose, categories, adapter}]`. Repeating it
    changes nothing, and makes no token for whom it did not change.
    """
    wanted = [described(one) for one in _listed(file)]
    with opened() as hub:
        _registered(hub, wanted, as_json)


@app.command("list", epilog="Example: hub agency list --json")
def list_(as_json: AsJson = False) -> None:
    """Print who takes part, and what they subscribe to."""
    with opened() as hub:
        register = hub.register()
        used = tokens.last_used(hub.store)
        rows = [
            body
            | {
                "last_used": instant.format(used[body["id"]]) if body["id"] in used else None,
                "subscriptions": [
                    one for one in register.subscriptions.values() if one["stakeholder"] == body["id"]
                ],
            }
            for _, body in sorted(register.stakeholders.items())
        ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("id", "name", "role", "agreement", "last used", "subscriptions", box=None)
    for row in rows:
        agreement = row["agreement"]
        period = f"{agreement['from'][:10]} – {(agreement['until'] or '')[:10]}"
        wants = "\n".join(
            f"{one['purpose']} ({one['adapter']}): {', '.join(one['categories'])}"
            for one in row["subscriptions"]
        )
        table.add_row(row["id"], row["name"], row["role"], period, row["last_used"] or "never", wants)
    Console().print(table)


@app.command(epilog="Example: hub agency retire old-partner")
def retire(stakeholder: Id, as_json: AsJson = False) -> None:
    """Take a stakeholder out: nothing goes to it, or is taken from it, any more."""
    with opened() as hub:
        everybody = list(hub.register().stakeholders)
        offset = hub.registration.retire(stakeholder, BY)
        tokens.revoke(hub.store, stakeholder)
        fence = _fenced(hub, offset, everybody)
    if as_json:
        typer.echo(json.dumps({"id": stakeholder, "retired": True, "fence": fence}))
    else:
        typer.echo(f"retired {stakeholder}; {FENCES[fence]}")
    if fence != "closed":
        raise typer.Exit(1)


def _subscription(text: str) -> dict[str, Any]:
    purpose, _, rest = text.partition(":")
    categories, _, adapter = rest.partition(":")
    if not purpose or not categories:
        raise BadDescription("`--subscribe` is purpose:category,category[:adapter]")
    return {"purpose": purpose, "categories": categories.split(","), "adapter": adapter or "webhook"}


def _listed(file: Path) -> list[Any]:
    if file.stat().st_size > FILE_BYTES_MAX:
        raise BadDescription(f"the file has more than {FILE_BYTES_MAX} bytes")
    parse: Callable[[str], Any] = json.loads if file.suffix == ".json" else tomllib.loads
    try:
        source = parse(file.read_text("utf-8"))
    except ValueError as error:  # of JSON, of TOML, of UTF-8
        raise BadDescription(f"the file cannot be read: {error}") from None
    listed = source.get("stakeholder") if isinstance(source, dict) else None
    if not isinstance(listed, list) or len(listed) > STAKEHOLDERS_MAX:
        raise BadDescription(f"the file needs a list `stakeholder`, of at most {STAKEHOLDERS_MAX}")
    return listed


def _registered(hub: bootstrap.Hub, wanted: Sequence[Description], as_json: bool) -> None:
    everybody = list(hub.register().stakeholders)
    done = hub.registration.register(wanted, BY)
    changed = max((one.changed for one in done if one.changed is not None), default=None)
    rows = [
        {
            "id": one.id,
            "records": one.records,
            "token": tokens.mint(hub.store, one.id) if one.records else None,
            "webhook_secret": one.webhook_secret,
            "webhook_public_key": one.webhook_public_key,
            "ssh_public_key": one.ssh_public_key,
            "kafka": on_kafka(hub.settings, one.kafka),
        }
        for one in done
    ]
    _say(rows, as_json)
    fence = "closed" if changed is None else _fenced(hub, changed, everybody)
    if fence != "closed":
        typer.echo(FENCES[fence], err=True)
        raise typer.Exit(1)


def _fenced(hub: bootstrap.Hub, offset: int, stakeholders: Sequence[str]) -> str:
    """Waits until nothing can begin to be delivered on what was allowed before; out: a key of `FENCES`."""
    narrowing = Narrowing.of_governance(offset, "stakeholder")
    return asyncio.run(_answer(hub, narrowing, stakeholders)).state


async def _answer(hub: bootstrap.Hub, narrowing: Narrowing, stakeholders: Sequence[str]) -> Answer:
    partitions = hub.settings.partitions
    fence = Fence(partitions, hub.settings.send_ms_max)
    follower = Follower(as_aiokafka(hub.client), fence, partitions)
    await follower.start()
    try:
        return await follower.wait(narrowing, stakeholders, FENCE_MS_MAX)
    finally:
        await follower.stop()


def _say(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['id']}: {row['records']} records written")
        for field in ("token", "webhook_secret"):
            if row[field]:
                typer.echo(f"  {field} (shown this once): {row[field]}")
        if row["webhook_public_key"]:
            typer.echo(f"  its webhooks are verified with: {row['webhook_public_key']}")
        if row["ssh_public_key"]:
            typer.echo(f"  the hub's public key, for its SFTP server: {row['ssh_public_key']}")
        if row["kafka"]:
            say_kafka(row["kafka"])
    sys.stdout.flush()
