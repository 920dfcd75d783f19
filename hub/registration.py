"""Registering a stakeholder: its topics, its records in `governance`, its signing secret. Repeatable.

One description says everything about a stakeholder, whether it comes from a command line or a file; what the
register has already is not written again.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, NamedTuple, Protocol

from pydantic import Field, ValidationError

from connectors.recheck import PAUSED
from hub.appender import Appender
from hub.governance import Register, write
from hub.shapes import Address, Agreement, Folder, Name, Postal, Report, Shape, Wanted
from hub.signing import Kind, Signing
from hub.users import Credentials
from schemas import topics
from schemas.errors import Invalid, Problem

SUBSCRIPTIONS_MAX: Final = 50
STAKEHOLDERS_MAX: Final = 1_000


class Description(Shape):
    """A stakeholder. `webhook`, `sftp` and `fhir` are where its subscriptions by these are delivered; with
    `kafka` its own clients may use its topics, and with `report` it is sent the published numbers. `address`
    is where it gets letters, for accountings of disclosures (45 CFR 164.528(b)(2)(ii)).
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
    report: Report | None = None
    subscriptions: list[Wanted] = Field(default=[], max_length=SUBSCRIPTIONS_MAX)

    def body(self) -> dict[str, Any]:
        """The record of the stakeholder."""
        more: dict[str, Any] = {"kafka": True} if self.kafka else {}
        if self.address is not None:
            more["address"] = self.address
        if self.report is not None:
            more["report"] = self._report(self.report)
        return more | {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "agreement": {"from": self.agreement.since, "until": self.agreement.until},
            "treating": self.treating,
            "medical": self.medical,
            "part2": self.part2,
        }

    def _report(self, report: Report) -> dict[str, Any]:
        """How often, in which language, and where to. Raises `Invalid` where that is not said."""
        found = {"every": report.every, "language": report.language}
        if report.mail is not None:
            return found | {"mail": report.mail}
        if self.sftp is None:
            raise Invalid.one(
                "/report", "missing", "a report needs an address: `mail`, or a folder in `sftp`"
            )
        return found | {"sftp": self.sftp.settings()}

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
        mail: bool = True,
    ) -> None:
        """In: the way to the log, the register as of now, the secrets, what creates topics of theirs, who may
        use the brokers, whether agencies have a way to them at all, and whether the hub can send mail.
        """
        self._appender = appender
        self._register = register
        self._signing = signing
        self._create_topics = create_topics
        self._users = users
        self._kafka = kafka
        self._mail = mail

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
            if one.report is not None and one.report.mail is not None and not self._mail:
                detail = "the hub has no way to send mail: set `mail_host` and `mail_from`"
                raise Invalid.one("/report/mail", "no-way", detail)
            one.body()
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
