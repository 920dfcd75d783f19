"""`hub consent`: FHIR Consent resources in and out, from files."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer

from consent import Policy, default_policy, fhir, fhir_export
from hub.errors import OperatorError
from schemas import strict
from schemas.errors import Invalid

SEND_S_MAX: Final = 30.0
IMPORTED: Final = """Example: hub consent import-fhir consent.json

A provision that permits, and denies one label inside,

{"type": "permit", "purpose":
 [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "COC"}], ...,
 "provision": [{"type": "deny", "securityLabel":
 [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}]}]}

is printed as a grant that lists all labels but that one:

{"id": "g1", "purposes": ["care-coordination"],
 "labels": ["counselling-notes", "mental-health", "part2", "reproductive-health"], ...}

What no grant says exactly is refused, with exit status 1 and the path of the element:

Consent.provision.provision[0].provision[0].type:
 inside what is permitted only a denial means something (not-exact)

To send it as well: hub consent import-fhir consent.json --send"""
EXPORTED: Final = """Example: hub consent export-fhir directives.json --participant p-1 > consent.json

The file is one directive, or a list as `import-fhir` prints it:

[{"type": "consent-granted", "consent": {"id": "c1", "grants": [...], ...}}]

consent.json is what says the same in FHIR, and reads back as it was:

{"resourceType": "Consent", "status": "active", "identifier":
 [{"system": "urn:diversion-hub:consent", "value": "c1"}], "provision": {...}, ...}"""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Consents as FHIR R4 resources.",
    epilog="Example: hub consent import-fhir consent.json",
)


class NotTaken(OperatorError):
    """The hub did not take a consent; the message says why."""


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            return source.read(fhir.body_bytes_max + 1)
    except OSError as error:
        raise typer.BadParameter(f"cannot read it: {error.strerror}") from None


def _fail(error: Invalid) -> None:
    for one in error.problems:
        typer.echo(f"{one.path or 'the file'}: {one.detail} ({one.code})", err=True)
    raise typer.Exit(1)


@app.command("import-fhir", epilog=IMPORTED)
def import_fhir(
    file: Annotated[Path, typer.Argument(help="A Consent resource (R4) in JSON.")],
    send: Annotated[bool, typer.Option(help="Send it to the hub, not only check it.")] = False,
    token: Annotated[str, typer.Option(envvar="HUB_TOKEN", help="Your bearer token.")] = "",
    url: Annotated[str, typer.Option(envvar="HUB_URL", help="Where the hub is.")] = "http://127.0.0.1:8080",
) -> None:
    """Say what a FHIR Consent means here: its directives, as JSON. Or why it can't be said exactly.

    With --send it goes to the hub, and is refused there if you may not send it.
    """
    body = _read(file)
    try:
        found = fhir.parse(body, Policy.of(default_policy()))
    except Invalid as error:
        _fail(error)
    if not send:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    try:
        answer = httpx.post(f"{url}/v1/consents", content=body, headers=headers, timeout=SEND_S_MAX)
    except httpx.HTTPError as error:
        raise NotTaken(f"the hub does not answer ({type(error).__name__}). Is it running? `hub up`") from None
    typer.echo(json.dumps(answer.json(), indent=2, ensure_ascii=False))
    if answer.is_error:
        raise typer.Exit(1)


@app.command("export-fhir", epilog=EXPORTED)
def export_fhir(
    file: Annotated[Path, typer.Argument(help="A `consent-granted` directive in JSON, or a list with one.")],
    participant: Annotated[str, typer.Option(help="The participant's id in the hub.")] = "",
) -> None:
    """Print a consent as a FHIR Consent resource (R4), with the restrictions that the file holds too."""
    try:
        value: Any = strict.parse(_read(file))
        listed = value if isinstance(value, list) else [value]
        of_type = {
            kind: [one for one in listed if isinstance(one, dict) and one.get("type") == kind]
            for kind in ("consent-granted", "restriction-placed")
        }
        if len(of_type["consent-granted"]) != 1:
            raise Invalid.one("", "required", "the file has to hold one `consent-granted` directive")
        restrictions = [one["restriction"] for one in of_type["restriction-placed"]]
        (granted,) = of_type["consent-granted"]
        who = participant or granted.get("participant", "")
        made = fhir_export.resource(granted["consent"], restrictions, who, Policy.of(default_policy()))
    except Invalid as error:
        _fail(error)
    except (KeyError, TypeError):
        _fail(Invalid.one("", "required", "the directive lacks something that a consent needs"))
    typer.echo(json.dumps(made, indent=2, ensure_ascii=False))
