"""The fields of the four types as pydantic models. The Avro schemas say which compartment each belongs to.

Every field may be absent; null, an empty text and an empty list are the same as absent. Words of a fixed
list may be written with spaces, hyphens or underscores. No list has a word for a failure, and `engaged` is
true or absent.
"""

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from schemas import compartments, instant
from schemas.errors import BadTime
from schemas.strict import field_chars_max

text_chars_max: Final = 512
list_items_max: Final = 50
NO_PLACE: Final = "failure-has-no-place"
NO_PLACE_DETAIL: Final = (
    "the hub keeps no word for a failure; leave it out, and say what was done or comes next"
)

_FAILURE: Final = re.compile(
    r"\b(fail(s|ed|ure|ing)?|no ?shows?|non ?complian(t|ce)|not compliant|unsuccessful(ly)?|violat(ed|ion)"
    r"|absconded|fta|did not (attend|appear|show)|missed|not engaged|disengaged"
    r"|positive (drug |urine |ua )?(test|screen|ua)|(test|screen|ua)(ed)? positive)\b"
)
_FAILURES: Final = frozenset(
    {
        *("fail", "failed", "failure", "failed to appear", "failure to appear", "fta", "failed to comply"),
        *("no show", "noshow", "no shows", "did not attend", "did not appear", "unsuccessful"),
        *("non compliant", "noncompliant", "non compliance", "noncompliance", "not compliant"),
        *("positive test", "tested positive", "test positive", "positive drug test", "positive ua"),
    }
)


def plain(text: str) -> str:
    """Lower case, with single spaces for every run of spaces, hyphens, underscores and slashes."""
    return re.sub(r"[\s_/-]+", " ", text).strip().lower()


def tells_failure(text: str) -> bool:
    """Whether a word of a fixed list, or a field's name, says that somebody failed at something."""
    return _FAILURE.search(plain(text)) is not None


def _no_place() -> PydanticCustomError:
    return PydanticCustomError(NO_PLACE, NO_PLACE_DETAIL)


def _one_of(enum: str) -> Callable[[Any], str]:
    symbols = compartments.symbols(enum)
    expected = ", ".join(symbol.replace("_", " ") for symbol in symbols)

    def symbol_of(value: Any) -> str:
        if isinstance(value, str):
            symbol = plain(value).replace(" ", "_")
            if symbol in symbols:
                return symbol
            if tells_failure(value):
                raise _no_place()
        raise PydanticCustomError("unknown-value", "expected one of: {expected}", {"expected": expected})

    return symbol_of


def _instant(value: Any, info: ValidationInfo) -> int:
    try:
        if info.context and info.context.get("numeric") and type(value) is int:
            instant.format(value)
            return value
        return instant.parse(value)
    except BadTime as error:
        raise PydanticCustomError("bad-time", "{detail}", {"detail": error.detail}) from None


def _not_a_failure(text: str) -> str:
    if plain(text) in _FAILURES:
        raise _no_place()
    return text


def _engaged(value: Any) -> bool:
    if value is False or (isinstance(value, str) and plain(value) in {"no", "false", "not engaged"}):
        raise PydanticCustomError(
            NO_PLACE, "say true, or leave it out: there is no place for not being engaged"
        )
    if value is not True:
        raise PydanticCustomError("wrong-type", "expected true, or nothing")
    return True


def _day(text: str) -> str:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise PydanticCustomError("bad-date", "expected a date as YYYY-MM-DD")


Text = Annotated[str, StringConstraints(max_length=text_chars_max)]
Narrative = Annotated[str, StringConstraints(max_length=field_chars_max)]
Coded = Annotated[Text, AfterValidator(_not_a_failure)]
Instant = Annotated[int, BeforeValidator(_instant)]
Day = Annotated[Text, AfterValidator(_day)]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: item
            for name, item in value.items()
            if item is not None and item != [] and not (isinstance(item, str) and not item.strip())
        }


class Place(_Fields):
    """Where something was."""

    description: Text | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    district: Text | None = None


class Common(_Fields):
    """What every type may carry."""

    local_id: Text | None = None
    name: Text | None = None
    birth_date: Day | None = None
    occurred_at: Instant | None = None
    ended_at: Instant | None = None
    place: Place | None = None
    engaged: Annotated[bool, BeforeValidator(_engaged)] | None = None
    phase: Annotated[str, BeforeValidator(_one_of("Phase"))] | None = None
    narrative: Narrative | None = None
    race_ethnicity: Annotated[list[Text], Field(max_length=list_items_max)] | None = None
    gender: Text | None = None


class Contact(Common):
    """Somebody met, was called by, or came into custody of somebody."""

    facility: Text | None = None
    booked_at: Instant | None = None
    release_expected_at: Instant | None = None
    released_at: Instant | None = None
    mode: Annotated[str, BeforeValidator(_one_of("Mode"))] | None = None
    staff: Text | None = None
    needs: Annotated[list[Coded], Field(max_length=list_items_max)] | None = None
    crisis_level: Coded | None = None
    overdose_reversed: bool | None = None
    booking_number: Text | None = None


class Coding(_Fields):
    """A code in a named system."""

    system: Text
    code: Text
    display: Coded | None = None


class ServiceEngagement(Common):
    """A service was offered, accepted, used or completed."""

    provider: Text | None = None
    program: Text | None = None
    service_code: Coded | None = None
    step: Annotated[str, BeforeValidator(_one_of("Step"))] | None = None
    units: Amount | None = None
    codes: Annotated[list[Coding], Field(max_length=list_items_max)] | None = None
    medication: Text | None = None


class Hearing(_Fields):
    """A date in court."""

    id: Text | None = None
    status: Annotated[str, BeforeValidator(_one_of("HearingStatus"))] | None = None
    at: Instant | None = None
    kind: Coded | None = None
    room: Text | None = None


class Charge(_Fields):
    """What is charged."""

    statute: Text | None = None
    description: Text | None = None
    severity: Coded | None = None


class Warrant(_Fields):
    """A warrant and its state."""

    number: Text | None = None
    status: Annotated[str, BeforeValidator(_one_of("WarrantStatus"))] | None = None


class CourtStatus(Common):
    """Where a case stands."""

    hearing: Hearing | None = None
    court: Text | None = None
    case_number: Text | None = None
    charge: Charge | None = None
    warrant: Warrant | None = None
    disposition: Coded | None = None


class Referral(Common):
    """Somebody is brought to the program through one of its doors."""

    door: Annotated[str, BeforeValidator(_one_of("Door"))] | None = None
    referred_by: Text | None = None
    handoff_due_at: Instant | None = None
    handed_off_at: Instant | None = None
    harm: Narrative | None = None


MODELS: Final[dict[str, type[Common]]] = {
    "contact": Contact,
    "service-engagement": ServiceEngagement,
    "court-status": CourtStatus,
    "referral": Referral,
}
