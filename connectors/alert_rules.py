"""The rules of what makes an alert: rows of a TOML file, with defaults. Pure: no clock, no store.

The file says in its own words what each key means (`alert_rules.toml`).
"""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas import instant
from schemas.calendar import days_before
from schemas.errors import BadTime, Invalid, Problem

FILE_CHARS_MAX: Final = 256 * 1024
RULES_MAX: Final = 200
MINUTE_MS: Final = 60_000
LANGUAGES: Final = frozenset({"en", "es"})
WHO: Final = "%(who)s"
KNOWN: Final = frozenset(  # what the catalogues have sentences for
    {
        "overdose",
        "crisis",
        "released",
        "release-expected",
        "release-ahead",
        "booked-into-custody",
        "police-contact",
        "warrant-issued",
        "warrant-quashed",
        "hearing-set",
        "hearing-moved",
        "hearing-cancelled",
        "hearing-ahead",
        "arrest-diversion-waiting",
        "referral-waiting",
        "no-contact",
        "consent-expires",
        "consent-revoked",
        "consent-narrowed",
        "restriction-placed",
        "somebody-unknown",
        "letter-waiting",
    }
)
OF_CONSENT: Final = frozenset(
    {"consent-expires", "consent-revoked", "consent-narrowed", "restriction-placed"}
)

Urgency = Literal["urgent", "soon", "information"]
Audience = Literal["caseload", "team"]
URGENCIES: Final[tuple[Urgency, ...]] = ("urgent", "soon", "information")
Fields = Mapping[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Case(_Part):
    """What an event has to look like to its reader. Fields within another are written `hearing.at`."""

    type: Literal["contact", "service-engagement", "court-status", "referral"] | None = None
    category: str | None = None
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    is_: dict[str, str | bool] = Field(default_factory=dict, alias="is")

    def may_fit(self, envelope: Mapping[str, Any]) -> bool:
        """Whether an event can be such a case, by its type and category alone."""
        if self.type is not None and envelope.get("type") != self.type:
            return False
        category = envelope.get("category", "")
        return self.category is None or category == self.category or category.startswith(self.category + ".")

    def fits(self, view: Mapping[str, Any], fields: Fields) -> bool:
        """Whether a recipient's view, its fields flat, is such a case."""
        return (
            self.may_fit(view)
            and all(name in fields for name in self.has)
            and not any(name in fields for name in self.lacks)
            and all(fields.get(name) == value for name, value in self.is_.items())
        )


class Mark(_Part):
    """When before its time a reminder is due: in days by the clocks, or in minutes."""

    days: Annotated[int, Field(ge=1, le=365)] | None = None
    minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] | None = None
    urgency: Urgency

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.days is None) == (self.minutes is None):
            raise PydanticCustomError("one", "give either `days` or `minutes`")
        return self

    @property
    def name(self) -> str:
        """Tells it from the others of its rule."""
        return f"{self.days}d" if self.days is not None else f"{self.minutes}m"

    def before(self, ms: int, zone: Any) -> int:
        """The instant so long before another one, both in epoch milliseconds."""
        if self.days is not None:
            return days_before(ms, self.days, zone)
        assert self.minutes is not None
        return ms - self.minutes * MINUTE_MS


class Reminders(_Part):
    """Alerts ahead of a time that a field tells."""

    field: str
    thread: str | None = None
    at: Annotated[tuple[Mark, ...], Field(min_length=1, max_length=10)]
    ends: tuple[Case, ...] = ()


class Escalation(_Part):
    """When those who lead see it: at a field's time, or so many minutes after it came."""

    field: str | None = None
    minutes: Annotated[int, Field(ge=1, le=30 * 24 * 60)]


class Rule(_Part):
    """One row. See the file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,60}$")]
    on: Literal["event", "consent", "parked", "silence", "letter"] = "event"
    urgency: Urgency
    audience: Audience = "caseload"
    at_once: bool = True
    when: tuple[Case, ...] = ()
    escalates: Escalation | None = None
    reminders: Reminders | None = None
    days: tuple[Annotated[int, Field(ge=1, le=365)], ...] = ()
    says: dict[str, str] | None = None
    next: dict[str, str] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.on == "event" and not self.when:
            raise PydanticCustomError("when", "say `when` it applies: cases, one of which has to fit")
        if self.on != "event" and (self.when or self.reminders):
            raise PydanticCustomError("when", "`when` and `reminders` are for rules on events")
        if not self.at_once and self.reminders is None:
            raise PydanticCustomError("at_once", "what is not shown at once needs `reminders`")
        if self.on == "consent" and self.name not in OF_CONSENT:
            known = ", ".join(sorted(OF_CONSENT))
            raise PydanticCustomError("name", "a rule on consent is one of {known}", {"known": known})
        if (self.on == "silence" or self.name == "consent-expires") != bool(self.days):
            raise PydanticCustomError(
                "days", "`days` belongs to consent-expires and to silence, and to nothing else"
            )
        own = (self.says, self.next)
        if self.name not in KNOWN and None in own:
            raise PydanticCustomError("says", "a rule of your own needs `says` and `next`, each in en and es")
        for said in own:
            if said is not None and set(said) != LANGUAGES:
                raise PydanticCustomError("says", "give each sentence in en and in es")
            if said is not None and any("%" in text.replace(WHO, "") for text in said.values()):
                raise PydanticCustomError("says", "the only thing to fill in is %(who)s")
        return self


class Rules:
    """The rules that are in force."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rows = tuple(rules)
        self._by_name = {rule.name: rule for rule in self.rows}
        self._events = tuple(rule for rule in self.rows if rule.on == "event")
        self._urgent = tuple(
            case
            for rule in self._events
            if rule.urgency == "urgent" and rule.at_once
            for case in [one for one in rule.when if one.category is not None] or rule.when
        )

    def named(self, name: str) -> Rule | None:
        """The rule of that name."""
        return self._by_name.get(name)

    def on(self, what: str) -> tuple[Rule, ...]:
        """The rules on consents, on silence, on parked events."""
        return tuple(rule for rule in self.rows if rule.on == what)

    def first(self, view: Mapping[str, Any], fields: Fields) -> Rule | None:
        """The rule whose alert an event makes at once; None where it makes none."""
        return next((rule for rule in self._events if rule.at_once and _any(rule.when, view, fields)), None)

    def urgent(self, envelope: Mapping[str, Any]) -> bool:
        """Whether an event may make an urgent alert, as far as its type and category tell.

        What else a rule asks for is sealed. Where a rule names categories, these decide; else its types do.
        """
        return any(case.may_fit(envelope) for case in self._urgent)

    def touching(self, view: Mapping[str, Any], fields: Fields) -> list[tuple[Rule, bool]]:
        """The rules whose reminders an event replaces; whether it also makes new ones."""
        found = []
        for rule in self._events:
            if rule.reminders is None:
                continue
            ends = _any(rule.reminders.ends, view, fields)
            makes = not ends and _any(rule.when, view, fields)
            if ends or makes:
                found.append((rule, makes))
        return found


def _any(cases: Iterable[Case], view: Mapping[str, Any], fields: Fields) -> bool:
    return any(case.fits(view, fields) for case in cases)


def flat(view: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of all compartments of a view, without empty ones; those within another as `hearing.at`."""
    found: dict[str, Any] = {}
    for fields in view.get("data", {}).values():
        for name, value in fields.items():
            if isinstance(value, Mapping):
                found |= {f"{name}.{inner}": one for inner, one in value.items() if one not in (None, "", [])}
            elif value not in (None, "", []):
                found[name] = value
    return found


def time_of(fields: Fields, name: str | None) -> int | None:
    """The instant that a field tells; None where it tells none."""
    try:
        return None if name is None or name not in fields else instant.parse(fields[name])
    except BadTime:
        return None


class Due(NamedTuple):
    """A reminder to come: its mark, and when, in epoch milliseconds."""

    mark: Mark
    at: int


def dues(reminders: Reminders, fields: Fields, now_ms: int, zone: Any) -> tuple[list[Due], Urgency | None]:
    """The reminders that lie ahead, and how urgent it is already: the urgency of the last mark that passed.

    What the field tells must lie ahead itself; otherwise there is nothing to be reminded of.
    """
    target = time_of(fields, reminders.field)
    if target is None or target <= now_ms:
        return [], None
    every = sorted((Due(mark, mark.before(target, zone)) for mark in reminders.at), key=lambda due: due.at)
    passed = [due for due in every if due.at <= now_ms]
    return [due for due in every if due.at > now_ms], passed[-1].mark.urgency if passed else None


def read(source: str) -> Rules:
    """The rules of a TOML text. Raises `Invalid`, which names row, key and what to do."""
    if len(source) > FILE_CHARS_MAX:
        raise Invalid.one("", "too-large", f"alert rules are at most {FILE_CHARS_MAX} characters")
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise Invalid.one("", "not-toml", f"the alert rules are not TOML: {error}") from None
    rows = document.pop("rule", None)
    if document or not isinstance(rows, list) or not 0 < len(rows) <= RULES_MAX:
        raise Invalid.one("", "rules", f"the file is 1 to {RULES_MAX} tables `[[rule]]`, and nothing else")
    problems, rules = [], []
    for number, row in enumerate(rows, 1):
        try:
            rules.append(Rule.model_validate(row))
        except ValidationError as error:
            problems += [
                Problem(
                    f"/rule/{number}/" + "/".join(map(str, one["loc"])),
                    one["type"],
                    _in_words(number, row, one),
                )
                for one in error.errors()
            ]
    names = [rule.name for rule in rules]
    if len(set(names)) < len(names):
        problems.append(Problem("/rule", "twice", "two rules have the same name: give each its own"))
    if problems:
        raise Invalid(problems)
    return Rules(rules)


def _in_words(number: int, row: Any, error: Any) -> str:
    name = row.get("name") if isinstance(row, dict) else None
    called = f"rule {number} (`{name}`)" if isinstance(name, str) else f"rule {number}"
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{called}: there is no key `{where}`"
    return f"{called}: {f'`{where}`: ' if where else ''}{error['msg'][:1].lower()}{error['msg'][1:]}"


def load(path: Path | None) -> Rules:
    """The rules of a program's own file, or the defaults. Raises `Invalid`, and `OSError`."""
    if path is None:
        return default()
    try:
        return read(path.read_text("utf-8"))
    except UnicodeDecodeError:
        raise Invalid.one("", "not-utf-8", "the alert rules are not UTF-8") from None


@cache
def default() -> Rules:
    """The rules that come with the hub."""
    return read(resources.files("connectors").joinpath("alert_rules.toml").read_text("utf-8"))
