"""The shapes of directives as they are sent to `POST /v1/directives`; who may send which is `consent`'s to
say.

A directive has two halves: the rule, which decisions are made from and which names nobody, and what is
personal in it (names, the signature's details, the witness), which is kept sealed.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from schemas import instant, strict
from schemas.errors import BadTime, Invalid, Problem

list_items_max: Final = 200
grants_max: Final = 100
text_chars_max: Final = 512


def _time(text: str) -> str:
    try:
        instant.parse(text)
    except BadTime as error:
        raise PydanticCustomError("bad-time", "{detail}", {"detail": error.detail}) from None
    return text


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=text_chars_max)]
Time = Annotated[str, AfterValidator(_time)]
Texts = Annotated[list[Text], Field(max_length=list_items_max)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Signature(_Shape):
    """How it was signed; `reference` says where the signed form or the drawing is kept."""

    method: Text
    reference: Text
    name: Text | None = None


class Witness(_Shape):
    """Who saw it signed. `organisation` is a stakeholder's id."""

    name: Text
    organisation: Id


class Grant(_Shape):
    """Who may pass what to whom, and for what. An empty list covers nothing."""

    id: Id
    disclosers: Texts = []
    recipients: Texts = []
    purposes: Texts = []
    categories: Texts = []
    labels: Texts = []
    compartments: Texts = []
    data_from: Time | None = None
    data_until: Time | None = None


class Consent(_Shape):
    """A signed consent. Its `id` is made by the hub where the sender leaves it out."""

    id: Id | None = None
    signed_at: Time
    signature: Signature
    starts_at: Time
    expires_at: Time | None = None
    expires_on: Text | None = None
    statements: Texts
    grants: Annotated[list[Grant], Field(min_length=1, max_length=grants_max)]


class Restriction(_Shape):
    """The participant's "never"."""

    id: Id
    recipients: Texts = []
    purposes: Texts = []
    categories: Texts = []
    labels: Texts = []


class Order(_Shape):
    """A court's order; without a subpoena it is on record and permits nothing."""

    id: Id
    recipient: Id
    categories: Texts
    starts_at: Time
    expires_at: Time
    subpoena: bool = False


class Emergency(_Shape):
    """A medical emergency, at most 24 hours long."""

    id: Id
    recipient: Id
    declared_by: Text
    nature: Text
    declared_at: Time
    expires_at: Time


class _Directive(_Shape):
    id: Id
    participant: Id
    names: Annotated[dict[Id, Text], Field(max_length=20)] | None = None
    witness: Witness | None = None

    def rule(self) -> dict[str, Any]:
        """What decisions are made from: `type` and the body, in the shape of `hub decide`'s directives."""
        body = self.model_dump(exclude_none=True, exclude={"id", "participant", "names", "witness"})
        body.get("consent", {}).get("signature", {}).pop("name", None)
        return body

    def personal(self) -> dict[str, Any]:
        """What is sealed: names, witness, and the signature as it was given; empty when there is none."""
        found = self.model_dump(exclude_none=True, include={"names", "witness"})
        signature = self.model_dump(exclude_none=True).get("consent", {}).get("signature")
        return found | ({"signature": signature} if signature else {})


class ConsentGranted(_Directive):
    """Adds a consent."""

    type: Literal["consent-granted"]
    consent: Consent


class ConsentRevoked(_Directive):
    """Takes a consent back, whole or for some recipients or grants of it."""

    type: Literal["consent-revoked"]
    consent_id: Id
    recipients: Texts | None = None
    grants: Annotated[list[Id], Field(max_length=list_items_max)] | None = None


class RestrictionPlaced(_Directive):
    """Adds or replaces a restriction."""

    type: Literal["restriction-placed"]
    restriction: Restriction


class RestrictionLifted(_Directive):
    """Removes a restriction."""

    type: Literal["restriction-lifted"]
    restriction_id: Id


class OrderFiled(_Directive):
    """Adds or replaces a court order."""

    type: Literal["order-filed"]
    order: Order


class OrderVacated(_Directive):
    """Removes a court order."""

    type: Literal["order-vacated"]
    order_id: Id


class EmergencyDeclared(_Directive):
    """Adds or replaces a medical emergency."""

    type: Literal["emergency-declared"]
    emergency: Emergency


class ProgramExited(_Directive):
    """Ends what was to end with the program."""

    type: Literal["program-exited"]
    at: Time


Directive = Annotated[
    ConsentGranted
    | ConsentRevoked
    | RestrictionPlaced
    | RestrictionLifted
    | OrderFiled
    | OrderVacated
    | EmergencyDeclared
    | ProgramExited,
    Field(discriminator="type"),
]
TYPES: Final = (
    "consent-granted",
    "consent-revoked",
    "restriction-placed",
    "restriction-lifted",
    "order-filed",
    "order-vacated",
    "emergency-declared",
    "program-exited",
)
_ADAPTER: Final[TypeAdapter[Any]] = TypeAdapter(Directive)
_CODES: Final = {
    "missing": "missing",
    "extra_forbidden": "unknown-field",
    "string_too_long": "too-long",
    "string_too_short": "missing",
    "too_long": "too-many",
    "too_short": "missing",
    "string_pattern_mismatch": "bad-id",
    "union_tag_not_found": "missing",
    "union_tag_invalid": "unknown-type",
}
_DETAILS: Final = {
    "bad-id": "an id has up to 128 letters, digits, dots, hyphens, underscores and colons",
    "unknown-type": "expected one of: " + ", ".join(TYPES),
    "unknown-field": "there is no such field here",
}


def parse(body: Any) -> Any:
    """One of the directives above, from a body already read as JSON. Raises `Invalid` with every problem."""
    strict.check(body)
    try:
        return _ADAPTER.validate_python(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise Invalid([_problem(detail) for detail in details]) from None


def _problem(error: Any) -> Problem:
    parts = [part for part in error["loc"] if part not in TYPES]
    path = "".join(f"/{part if isinstance(part, int) else strict.safe(part)}" for part in parts)
    found = str(error["type"])
    if found.startswith("union_tag"):
        path = "/type"
    if "-" in found:
        return Problem(path, found, error["msg"])
    code = _CODES.get(found, "wrong-type")
    message = str(error["msg"])
    return Problem(path, code, _DETAILS.get(code, message[:1].lower() + message[1:]))
