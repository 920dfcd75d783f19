"""What a stakeholder is described with: its agreement, what it wants, and where that goes."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.age import check as check_keys
from connectors.age import keys_max
from hub.periods import Every
from schemas import instant
from schemas.errors import BadTime, Refused

MAIL: Final = r"^[^\s@,;:<>\"()\[\]]{1,64}@[A-Za-z0-9.-]{1,189}$"


def _time(text: str) -> str:
    try:
        instant.parse(text)
    except BadTime as error:
        raise ValueError(error.detail) from None
    return text


Time = Annotated[str, AfterValidator(_time)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Postal = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]+$")]


Address = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+", max_length=2_000)]


class Shape(BaseModel):
    """Fields that are not known are refused, and nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Agreement(Shape):
    """The signed data-sharing agreement; both days included, `until` may be open."""

    since: Annotated[Time, Field(alias="from")]
    until: Time | None = None


class Wanted(Shape):
    """A subscription. Its id is made of stakeholder, purpose and adapter where none is given."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,100}$")] | None = None
    purpose: Name
    categories: Annotated[list[Name], Field(min_length=1, max_length=100)]
    adapter: Literal["webhook", "alerts", "pull", "feed", "sftp", "fhir"] = "webhook"


class Folder(Shape):
    """A folder on a stakeholder's SFTP server; `host_key` is a line of the server's public key. With keys of
    age, files are encrypted for them.
    """

    url: Annotated[str, Field(pattern=r"^sftp://[^\s/?#]+(/[^\s?#]*)?$", max_length=2_000)]
    host_key: Annotated[str, Field(max_length=2_000)]
    every: Literal["hour", "day", "at-once"] = "hour"
    format: Literal["csv", "jsonl"] = "csv"
    age: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=keys_max)] = []

    @model_validator(mode="after")
    def _fit(self) -> Self:
        from connectors.drop import Drop  # noqa: PLC0415  slow to import, and seldom needed

        try:
            Drop.of(self.model_dump())
            if self.age:
                check_keys(self.age)
        except Refused as error:
            raise ValueError(error.detail) from None
        return self

    def settings(self) -> dict[str, Any]:
        """What the adapter needs to know."""
        return self.model_dump(exclude=None if self.age else {"age"})


class Report(Shape):
    """A report of the published numbers now and then: to an address, or else into the folder `sftp`."""

    every: Every = "month"
    language: Literal["en", "es"] = "en"
    mail: Annotated[str, Field(pattern=MAIL, max_length=254)] | None = None
