"""`hub agency token`, `secret`, `rotate` and others: by what a stakeholder and the hub know each other."""

import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hub import authority, bootstrap, settings, tokens
from hub.errors import OperatorError
from hub.settings import Settings
from hub.users import MECHANISM, Credentials
from schemas import instant
from schemas.errors import Invalid

app = typer.Typer(add_completion=False)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Id = Annotated[str, typer.Argument(help="The stakeholder's id.", show_default=False)]


class BadDescription(OperatorError):
    """A stakeholder was described in a way that cannot be."""

    exit_status = 2


@contextmanager
def opened() -> Iterator[bootstrap.Hub]:
    """The hub by its settings; what is wrong with what was described becomes a wrong call."""
    with bootstrap.bootstrap(settings.load()) as hub:
        try:
            yield hub
        except Invalid as error:
            where = f" at `{error.path}`" if error.path else ""
            raise BadDescription(f"{error.detail}{where}") from None


def known(hub: bootstrap.Hub, stakeholder: str) -> None:
    """Raises `BadDescription` where there is no such stakeholder."""
    if not hub.register().registered(stakeholder):
        raise BadDescription(f"no stakeholder is called `{stakeholder}`", "See `hub agency list`.")


def on_kafka(configured: Settings, made: Credentials | None) -> dict[str, str | None] | None:
    """All that an agency's own Kafka clients need, in JSON; None where no password was made."""
    if made is None:
        return None
    ca = configured.broker_tls / authority.CA if configured.guarded else configured.kafka_ca
    return {
        "bootstrap": configured.kafka_agencies,
        "security_protocol": "SASL_SSL",
        "mechanism": MECHANISM,
        "username": made.username,
        "password": made.password,
        "ca": None if ca is None else str(ca),
    }


def say_kafka(found: dict[str, str | None]) -> None:
    """The same for people."""
    typer.echo(f"  Kafka: {found['bootstrap']}, {found['security_protocol']}, {found['mechanism']}")
    typer.echo(f"  Kafka user and password (shown this once): {found['username']} {found['password']}")
    if found["ca"]:
        typer.echo(f"  the brokers' certificates are signed by: {found['ca']}")


@app.command(epilog="Example: hub agency token harbor-house")
def token(
    stakeholder: Id,
    scope: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(sorted(tokens.SCOPES))}; all if left out.")
    ] = None,
    end_others: Annotated[bool, typer.Option("--end-others", help="End older tokens at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a token for a stakeholder's programs. It is shown this once; older ones stay good for a day."""
    with opened() as hub:
        known(hub, stakeholder)
        try:
            made = tokens.mint(
                hub.store,
                stakeholder,
                scope or tokens.SCOPES,
                rotation_ms=0 if end_others else tokens.ROTATION_MS,
            )
        except ValueError as error:
            raise BadDescription(str(error)) from None
    typer.echo(json.dumps({"id": stakeholder, "token": made}) if as_json else made)


@app.command(epilog="Example: hub agency certificate harbor-house client.pem --scope publish")
def certificate(
    stakeholder: Id,
    file: Annotated[Path, typer.Argument(help="Its certificate, in PEM.", exists=True, dir_okay=False)],
    scope: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(sorted(tokens.SCOPES))}; all if left out.")
    ] = None,
    end_others: Annotated[bool, typer.Option("--end-others", help="End older certificates at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a stakeholder's programs come in by this certificate; older ones stay good for a day.

    An authority of `web_client_ca` must have signed it. Only this one counts, not others of the same name.
    """
    with opened() as hub:
        known(hub, stakeholder)
        rotation = 0 if end_others else tokens.ROTATION_MS
        try:
            der = ssl.PEM_cert_to_DER_cert(_first(file.read_text("ascii")))
            name = tokens.bind(hub.store, stakeholder, der, scope or tokens.SCOPES, rotation_ms=rotation)
        except ValueError as error:  # of PEM, of DER, of ours
            raise BadDescription(f"this certificate cannot be taken: {error}") from None
    typer.echo(json.dumps({"id": stakeholder, "fingerprint": name}) if as_json else name)


def _first(text: str) -> str:
    """The first certificate in a PEM file. Raises `ValueError` where there is none."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return text[text.index(begin) : text.index(end) + len(end)]


@app.command("credentials", epilog="Example: hub agency credentials harbor-house --json")
def credentials(stakeholder: Id, as_json: AsJson = False) -> None:
    """Print a stakeholder's tokens and certificates: what for, since when, last used in which hour."""
    with opened() as hub:
        known(hub, stakeholder)
        rows = [_shown(one) for one in tokens.listed(hub.store, stakeholder)]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("id", "kind", "scopes", "made", "last used", "ends", box=None)
    for row in rows:
        ends = "ended" if row["revoked_at"] else row["expires_at"] or ""
        cells = (
            row["id"],
            row["kind"],
            " ".join(row["scopes"]),
            row["created_at"],
            row["used_at"] or "never",
        )
        table.add_row(*cells, ends)
    Console().print(table)


def _shown(one: tokens.Kept) -> dict[str, Any]:
    return {
        name: instant.format(value) if name.endswith("_at") and value is not None else value
        for name, value in one._asdict().items()
    }


@app.command("end", epilog="Example: hub agency end harbor-house 3f0a9c11d2e4b586")
def end(
    stakeholder: Id, credential: Annotated[str, typer.Argument(help="As `hub agency credentials` names it.")]
) -> None:
    """End one token or certificate of a stakeholder at once."""
    with opened() as hub:
        ended = tokens.end(hub.store, stakeholder, credential)
    typer.echo("ended" if ended else "there is no such credential that was good")
    if not ended:
        raise typer.Exit(1)


@app.command(epilog="Example: hub agency secret harbor-house")
def secret(stakeholder: Id, as_json: AsJson = False) -> None:
    """Make a new signing secret for a stakeholder's webhook. The old one goes on signing for a day.

    Where webhooks are signed by Ed25519, it is a key pair, of which the public key is printed.
    """
    with opened() as hub:
        known(hub, stakeholder)
        made = hub.signing.rotate(stakeholder)
        name = "webhook_public_key" if hub.signing.webhook_public(stakeholder) else "webhook_secret"
    typer.echo(json.dumps({"id": stakeholder, name: made}) if as_json else made)


@app.command("fhir-token", epilog="Example: hub agency fhir-token tideline-clinic < token.txt")
def fhir_token(stakeholder: Id) -> None:
    """Keep the bearer token that a stakeholder's FHIR server gave the hub. Read from standard input."""
    with opened() as hub:
        known(hub, stakeholder)
        try:
            hub.signing.keep_bearer(stakeholder, sys.stdin.readline().strip())
        except ValueError as error:
            raise BadDescription(str(error)) from None
    typer.echo("kept")


@app.command("ssh-key", epilog="Example: hub agency ssh-key harbor-house")
def ssh_key(
    stakeholder: Id,
    renew: Annotated[bool, typer.Option("--renew", help="Make a new one; the old one ends at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the public key with which the hub signs in at a stakeholder's SFTP server."""
    with opened() as hub:
        known(hub, stakeholder)
        found = hub.signing.ssh_public(stakeholder, renew)
    typer.echo(json.dumps({"id": stakeholder, "ssh_public_key": found}) if as_json else found)


@app.command(epilog="Example: hub agency rotate harbor-house")
def rotate(stakeholder: Id, as_json: AsJson = False) -> None:
    """Make a new password for a stakeholder's own Kafka clients. The old one opens no connection any more."""
    with opened() as hub:
        known(hub, stakeholder)
        if not hub.register().stakeholders[stakeholder].get("kafka"):
            raise BadDescription(
                f"`{stakeholder}` does not use the brokers itself", "Add it with `--kafka` first."
            )
        found = on_kafka(hub.settings, hub.users.renew(stakeholder))
    if as_json:
        typer.echo(json.dumps({"id": stakeholder, "kafka": found}))
    elif found is not None:
        say_kafka(found)
