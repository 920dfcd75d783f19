"""Registering a stakeholder: its topics, its records in `governance`, its signing secret. Repeatable.

One description says everything about a stakeholder, whether it comes from a command line or a file; what the
register has already is not written again.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.age import check as check_keys
from connectors.age import keys_max
from connectors.recheck import PAUSED
from hub.appender import Appender
from hub.governance import Register, write
from hub.signing import Kind, Signing
from hub.users import Credentials
from schemas import instant, topics
from schemas.errors import BadTime, Invalid, Problem, Refused

SUBSCRIPTIONS_MAX: Final = 50
STAKEHOLDERS_MAX: Final = 1_000


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


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Agreement(_Shape):
    """The signed data-sharing agreement; both days included, `until` may be open."""

    since: Annotated[Time, Field(alias="from")]
    until: Time | None = None


class Wanted(_Shape):
    """A subscription. Its id is made of stakeholder, purpose and adapter where none is given."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,100}$")] | None = None
    purpose: Name
    categories: Annotated[list[Name], Field(min_length=1, max_length=100)]
    adapter: Literal["webhook", "alerts", "pull", "feed", "sftp", "fhir"] = "webhook"


class Folder(_Shape):
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


class Description(_Shape):
    """A stakeholder. `webhook`, `sftp` and `fhir` are where its subscriptions by these are delivered; with
    `kafka` its own clients may use its topics. `address` is where it gets letters, for accountings of
    disclosures (45 CFR 164.528(b)(2)(ii)).
    """

    id: Annotated[str, Field(pattern=rf"^{topics.STAKEHOLDER_ID.pattern}$")]
    name: Name
    role: Name
    agreement: Agreement
    address: Postal | None = None
    treating: bool = False
    medical: bool = False
    part2: bool = False
    webhook: Address | None = None
    webhook_signature: Kind = "hmac"
    sftp: Folder | None = None
    fhir: Address | None = None
    kafka: bool = False
    subscriptions: Annotated[list[Wanted], Field(max_length=SUBSCRIPTIONS_MAX)] = []

    def body(self) -> dict[str, Any]:
        """The record of the stakeholder."""
        more: dict[str, Any] = {"kafka": True} if self.kafka else {}
        if self.address is not None:
            more["address"] = self.address
        return more | {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "agreement": {"from": self.agreement.since, "until": self.agreement.until},
            "treating": self.treating,
            "medical": self.medical,
            "part2": self.part2,
        }

    def wanted(self) -> dict[str, dict[str, Any]]:
        """The records of its subscriptions, by id. Raises `Invalid` where two have the same."""
        found: dict[str, dict[str, Any]] = {}
        for index, one in enumerate(self.subscriptions):
            name = one.id or f"{self.id}-{one.purpose}-{one.adapter}"
            path = f"/subscriptions/{index}"
            if name in found:
                raise Invalid.one(f"{path}/id", "duplicate-id", f"another subscription is called `{name}`")
            settings = self._settings(one.adapter)
            found[name] = {
                "id": name,
                "stakeholder": self.id,
                "purpose": one.purpose,
                "categories": one.categories,
                "adapter": one.adapter,
                "settings": settings,
            }
        return found

    def _settings(self, adapter: str) -> dict[str, Any]:
        """What the adapter needs to know. Raises `Invalid` where it is not said."""
        needed = {
            "webhook": None if self.webhook is None else {"url": self.webhook},
            "fhir": None if self.fhir is None else {"url": self.fhir},
            "sftp": None if self.sftp is None else self.sftp.settings(),
        }
        found = needed.get(adapter, {})
        if found is None:
            raise Invalid.one(f"/{adapter}", "missing", f"a subscription by {adapter} needs its address")
        return found


class Registered(NamedTuple):
    """What registering did: how many records it wrote, the signing secret if one was made, and public keys:
    with which the hub signs in where files go, and with which its webhooks are verified.

    `changed` is the last offset in `governance` at which something that stood was replaced or retired: from
    there on less may be allowed. None where all was new.
    """

    id: str
    records: int
    webhook_secret: str | None
    changed: int | None
    ssh_public_key: str | None = None
    webhook_public_key: str | None = None
    kafka: Credentials | None = None


class Users(Protocol):
    """Who may use the brokers (`hub/users.py`)."""

    def admit(self, agency: str) -> Credentials | None:
        """Let an agency in; out: its credentials where it had none."""

    def end(self, agency: str) -> None:
        """Take that back."""


def described(source: object) -> Description:
    """A description from a JSON or TOML object. Raises `Invalid` with every problem."""
    try:
        return Description.model_validate(source)
    except ValidationError as error:
        raise Invalid(
            Problem(
                "".join(f"/{part}" for part in one["loc"]),
                str(one["type"]).replace("_", "-"),
                one["msg"][:1].lower() + one["msg"][1:],
            )
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ) from None


class Registration:
    """Writes what is described, where it differs from what stands."""

    def __init__(
        self,
        appender: Appender,
        register: Callable[[], Register],
        signing: Signing,
        create_topics: Callable[[Iterable[str]], None],
        users: Users,
        kafka: bool,
    ) -> None:
        """In: the way to the log, the register as of now, the secrets, what creates topics of theirs, who may
        use the brokers, and whether agencies have a way to them at all.
        """
        self._appender = appender
        self._register = register
        self._signing = signing
        self._create_topics = create_topics
        self._users = users
        self._kafka = kafka

    def register(self, wanted: Sequence[Description], by: str) -> list[Registered]:
        """Brings stakeholders to what is described; their subscriptions that are not, are retired.

        Raises `Invalid` for a role, purpose or category that the policy does not have, or a way to the
        brokers where there is none; then nothing is done.
        """
        register = self._register()
        for one in wanted:
            _within_policy(one, register)
            if one.kafka and not self._kafka:
                raise Invalid.one(
                    "/kafka", "no-way", "agencies have no way to the brokers: set `kafka_agencies`"
                )
            one.wanted()
        self._create_topics([one.id for one in wanted])
        return [self._register_one(one, register, by) for one in wanted]

    def _register_one(self, wanted: Description, register: Register, by: str) -> Registered:
        subscriptions = wanted.wanted()
        secret = self._signing.ensure(wanted.id, wanted.webhook_signature) if wanted.webhook else None
        public = self._signing.webhook_public(wanted.id) if wanted.webhook else None
        bodies = {("stakeholder", wanted.id): wanted.body()}
        bodies |= {("subscription", name): body for name, body in subscriptions.items()}
        standing = {("stakeholder", name): body for name, body in register.stakeholders.items()}
        standing |= {("subscription", name): body for name, body in register.subscriptions.items()}
        credentials = self._users.admit(wanted.id) if wanted.kafka else None
        if not wanted.kafka and _on_kafka(register, wanted.id):
            self._users.end(wanted.id)
        places, changed = [], [-1]
        for (kind, name), body in bodies.items():
            before = standing.get((kind, name))
            paused = (before or {}).get("settings", {}).get(PAUSED)
            if paused is not None:
                body["settings"] |= {PAUSED: paused}  # that is the operator's to end
            if before != body:
                places.append(write(self._appender, kind, name, body, by).offset)
                changed += places[-1:] if before is not None else []
        for name, body in sorted(register.subscriptions.items()):
            if body["stakeholder"] == wanted.id and name not in subscriptions:
                changed.append(write(self._appender, "retired", name, {"kind": "subscription"}, by).offset)
                places += changed[-1:]
        last = max(changed)
        key = self._signing.ssh_public(wanted.id) if wanted.sftp else None
        narrowed = last if last >= 0 else None
        secret = None if public else secret
        return Registered(wanted.id, len(places), secret, narrowed, key, public, credentials)

    def retire(self, stakeholder: str, by: str) -> int:
        """Takes a stakeholder and its subscriptions out of force; out: the offset of that in `governance`.

        Raises `Invalid` for an unknown one.
        """
        register = self._register()
        if not register.registered(stakeholder):
            raise Invalid.one("/id", "not-found", f"no stakeholder is called `{stakeholder}`")
        if _on_kafka(register, stakeholder):
            self._users.end(stakeholder)
        return write(self._appender, "retired", stakeholder, {"kind": "stakeholder"}, by).offset


def _on_kafka(register: Register, stakeholder: str) -> bool:
    return register.stakeholders.get(stakeholder, {}).get("kafka") is True


def _within_policy(wanted: Description, register: Register) -> None:
    if wanted.role not in register.terms("roles"):
        raise Invalid.one("/role", "unknown-term", "the policy has no such role")
    known = register.terms("categories")
    covering = {".".join(c.split(".")[: n + 1]) for c in known for n in range(c.count(".") + 1)}
    for index, one in enumerate(wanted.subscriptions):
        path = f"/subscriptions/{index}"
        if one.purpose not in register.terms("purposes"):
            raise Invalid.one(f"{path}/purpose", "unknown-term", "the policy has no such purpose")
        for place, category in enumerate(one.categories):
            if category not in covering:
                raise Invalid.one(
                    f"{path}/categories/{place}", "unknown-term", "the policy has no such category"
                )
