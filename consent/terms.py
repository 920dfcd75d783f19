"""The terms that directives carry (consent, grant, restriction, order, emergency), from untyped values."""

import marshal
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from sys import intern
from typing import Final, NamedTuple

from consent.decision import COUNSELLING_NOTES, PROCEEDINGS
from consent.known import Known
from consent.untyped import ALWAYS_MS, NEVER_MS, mapping, moment, text, texts

STATEMENTS: Final = frozenset({"right-to-revoke", "redisclosure", "refusal"})
PROGRAM_EXIT: Final = "program-exit"
emergency_ms_max: Final = 24 * 3_600_000


class Grant(NamedTuple):
    """What may go from whom to whom, for what. Times in milliseconds, both ends in, unbounded by default.

    Without an `id` it covers nothing, for no decision could name it.
    """

    id: str | None
    disclosers: tuple[str, ...]
    recipients: tuple[str, ...]
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    labels: tuple[str, ...]
    compartments: tuple[str, ...]
    data_from: int = ALWAYS_MS
    data_until: int = NEVER_MS

    @classmethod
    def of(cls, value: Mapping[object, object]) -> "Grant":
        """A grant from its JSON object; whatever it lacks is empty or unbounded."""
        since, until = moment(value.get("data_from")), moment(value.get("data_until"))
        return cls(
            text(value.get("id")),
            _names(value.get("disclosers")),
            _names(value.get("recipients")),
            _names(value.get("purposes")),
            _names(value.get("categories")),
            _names(value.get("labels")),
            _names(value.get("compartments")),
            ALWAYS_MS if since is None else since,
            NEVER_MS if until is None else until,
        )


class Form(NamedTuple):
    """What a consent says apart from whose it is and when it holds. `key` stands for these grants and no
    others; it is empty where they have none. `proceedings`: every grant, as signed, has exactly that purpose;
    `notes`: every grant lists the label of counselling notes.
    """

    key: bytes
    grants: tuple[Grant, ...]
    proceedings: bool
    notes: bool

    @classmethod
    def of(cls, key: bytes, listed: Iterable[object]) -> "Form":
        """The form of a list of grants, from untyped values; what is not an object is passed over."""
        grants = tuple([Grant.of(one) for one in listed if isinstance(one, Mapping)])
        return cls(
            key,
            grants,
            all(set(grant.purposes) == {PROCEEDINGS} for grant in grants),
            all(COUNSELLING_NOTES in grant.labels for grant in grants),
        )


_forms: Final = Known[bytes, Form]()


def _form(listed: object) -> Form:
    """The form with this list of grants; one without any, where it is no list. A program's forms are few and
    its participants many: what a form says is read once, and known again by its bytes.
    """
    if not isinstance(listed, list | tuple):
        return Form.of(b"", ())
    try:
        key = blake2b(marshal.dumps(listed, 2), digest_size=24).digest()
    except ValueError:  # a mapping that isn't a dict, or too deep
        return Form.of(b"", listed)
    return _forms.get(key) or _forms.put(key, Form.of(key, listed))


def _names(value: object) -> tuple[str, ...]:
    """`texts` of the few words that all grants are made of."""
    return tuple([intern(name) for name in texts(value)])


class Consent(NamedTuple):
    """A valid consent. `expires_at` is past every instant where only `on_exit`, or nothing, ends it."""

    id: str
    signed_at: int
    starts_at: int
    expires_at: int
    on_exit: bool
    form: Form

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The grants, in their order."""
        return self.form.grants

    @classmethod
    def of(cls, value: object) -> "Consent | None":
        """A consent from its JSON object, or None where it lacks something that makes a consent valid.

        What is a consent already comes out as it is.
        """
        if isinstance(value, Consent):
            return value
        source = mapping(value)
        name, signature = text(source.get("id")), mapping(source.get("signature"))
        signed_at, starts_at = moment(source.get("signed_at")), moment(source.get("starts_at"))
        said = _form(source.get("grants"))
        grants = said.grants
        if name is None or signed_at is None or starts_at is None or not grants:
            return None
        if text(signature.get("method")) is None or text(signature.get("reference")) is None:
            return None
        if not STATEMENTS.issubset(texts(source.get("statements"))):
            return None
        expires_at, expires_on = moment(source.get("expires_at")), text(source.get("expires_on"))
        if not ends(expires_at, expires_on, grants):
            return None
        end = NEVER_MS if expires_at is None else expires_at
        return cls(name, signed_at, starts_at, end, expires_on == PROGRAM_EXIT, said)


def ends(expires_at: int | None, expires_on: str | None, grants: tuple[Grant, ...]) -> bool:
    """Whether a consent has an end that is allowed; for treatment alone it may have none."""
    if expires_on is None:
        return expires_at is not None
    if expires_on == "none":
        return expires_at is not None or all(set(grant.purposes) == {"treatment"} for grant in grants)
    return expires_on == PROGRAM_EXIT


class Restriction(NamedTuple):
    """The participant's "never": what matches it in all four respects is not disclosed."""

    id: str
    recipients: tuple[str, ...]
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, value: object) -> "Restriction | None":
        """A restriction from its JSON object; None where it has no id."""
        source = mapping(value)
        name = text(source.get("id"))
        if name is None:
            return None
        lists = (texts(source.get(key)) for key in ("recipients", "purposes", "categories", "labels"))
        return cls(name, *lists)


class Order(NamedTuple):
    """A court order. Without a start or an end its period is empty, so that it is never in force."""

    id: str
    recipient: str | None
    categories: tuple[str, ...]
    starts_at: int
    expires_at: int
    subpoena: bool

    @classmethod
    def of(cls, value: object) -> "Order | None":
        """An order from its JSON object; None where it has no id."""
        source = mapping(value)
        name = text(source.get("id"))
        if name is None:
            return None
        starts_at, expires_at = moment(source.get("starts_at")), moment(source.get("expires_at"))
        return cls(
            name,
            text(source.get("recipient")),
            texts(source.get("categories")),
            NEVER_MS if starts_at is None else starts_at,
            ALWAYS_MS if expires_at is None else expires_at,
            source.get("subpoena") is True,
        )


class Emergency(NamedTuple):
    """A medical emergency that its recipient declared; it lasts 24 hours at most."""

    id: str
    recipient: str
    declared_by: str
    nature: str
    declared_at: int
    expires_at: int

    @classmethod
    def of(cls, value: object) -> "Emergency | None":
        """An emergency from its JSON object; None where it lacks something, or lasts too long."""
        source = mapping(value)
        name, recipient = text(source.get("id")), text(source.get("recipient"))
        declared_by, nature = text(source.get("declared_by")), text(source.get("nature"))
        declared_at, expires_at = moment(source.get("declared_at")), moment(source.get("expires_at"))
        if name is None or recipient is None or declared_by is None or nature is None:
            return None
        if declared_at is None or expires_at is None or expires_at - declared_at > emergency_ms_max:
            return None
        return cls(name, recipient, declared_by, nature, declared_at, expires_at)
