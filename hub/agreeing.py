"""The form on which a participant says who may learn what: what it offers, and what an answer comes to. Pure.

A line of the form is one organisation and one kind of information. What it offers is what the role matrix
could ever give that organisation; proceedings are in no line, so nothing that is signed here opens them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from consent import Event, Policy, Stakeholders, State, decide
from consent.terms import Restriction
from hub.governance import Register, canonical
from schemas import instant
from schemas.errors import BadTime, Invalid, Problem

KINDS: Final = ("service", "contact", "referral", "court")
LABELS: Final = ("part2", "mental-health", "hiv", "reproductive-health")  # notes need a form of their own
NEVER: Final = frozenset({"proceedings", "emergency", "program-evaluation"})  # not this form's to open
STATEMENTS: Final = ("right-to-revoke", "redisclosure", "refusal")
DAYS: Final = {"90": 90, "180": 180, "365": 365}
EXIT: Final = "exit"
DAY_MS: Final = 24 * 3_600_000
NAME_CHARS_MAX: Final = 200
CHOICES_MAX: Final = 200
ROLES: Final = (
    *("case-management", "service-provider", "public-health", "public-defender", "court", "prosecutor"),
    *("police", "business", "civil-rights", "community", "elected"),
)


class Line(NamedTuple):
    """One kind of information for one organisation: what for, and which parts, in the policy's order."""

    kind: str
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    compartments: tuple[str, ...]


class Party(NamedTuple):
    """An organisation on the form, and what it could be allowed."""

    id: str
    name: str
    role: str
    lines: tuple[Line, ...]


class Answer(NamedTuple):
    """What was filled in. Times in epoch milliseconds; `choices` and `labels` are `(party, kind or label)`.

    `days` is how long it holds, None for until the program is left.
    """

    id: str
    name: str
    signed_at: int
    choices: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    days: int | None
    earlier: bool


class Glimpse(NamedTuple):
    """One of the participant's own events, and who would learn of it: by party the compartments, sorted."""

    event: Event
    learn: Mapping[str, tuple[str, ...]]


def offers(register: Register, at: int) -> list[Party]:
    """Every organisation that could be allowed something, those who help first."""
    policy = register.policy or {}
    parties = []
    for name, body in register.stakeholders.items():
        role = str(body.get("role"))
        lines = tuple(line for kind in KINDS if (line := _line(policy, role, kind)) is not None)
        if lines and _in_force(body.get("agreement") or {}, at):
            parties.append(Party(name, str(body.get("name") or name), role, lines))
    return sorted(parties, key=lambda one: (_place(one.role), one.name.casefold(), one.id))


def _place(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _line(policy: Mapping[str, Any], role: str, kind: str) -> Line | None:
    rows = [
        row
        for row in policy.get("matrix", ())
        if row["role"] == role
        and row["category"].partition(".")[0] == kind
        and not set(row["purposes"]) <= NEVER
    ]
    if not rows:
        return None
    purposes = {one for row in rows for one in row["purposes"]} - NEVER
    parts = {one for row in rows for one in row["compartments"]}
    return Line(
        kind,
        tuple(sorted({row["category"] for row in rows})),
        tuple(one for one in policy["purposes"] if one in purposes),
        tuple(one for one in policy["compartments"] if one in parts),
    )


def _in_force(agreement: Mapping[str, Any], at: int) -> bool:
    try:
        since = instant.parse(agreement["from"])
        until = instant.parse(agreement["until"]) if agreement.get("until") else at
    except (BadTime, KeyError):
        return False
    return since <= at <= until


def mark(parties: Sequence[Party]) -> str:
    """Another one whenever something else is offered: what was read is what is signed, or nothing is."""
    return hashlib.sha256(canonical(parties)).hexdigest()[:16]


def answer(fields: Mapping[str, Sequence[str]], parties: Iterable[Party], signed_at: int) -> Answer:
    """What a form's fields say, by name. Raises `Invalid` with everything that is still to be filled in."""
    known = {(one.id, line.kind) for one in parties for line in one.lines}
    problems = []
    choices = tuple(dict.fromkeys(_pair(one) for one in fields.get("share", ())[:CHOICES_MAX]))
    labels = tuple(dict.fromkeys(_pair(one) for one in fields.get("label", ())[:CHOICES_MAX]))
    name = " ".join(_one(fields, "name").split())
    if not choices:
        problems.append(Problem("/share", "nothing-chosen", "nothing is ticked"))
    if set(choices) - known:
        problems.append(Problem("/share", "changed", "what may be offered has changed meanwhile"))
    if any(label not in LABELS for _, label in labels):
        problems.append(Problem("/label", "changed", "no such kind of information"))
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        problems.append(Problem("/name", "name", "whose word it is"))
    until, since = _one(fields, "until"), _one(fields, "since")
    if until != EXIT and until not in DAYS:
        problems.append(Problem("/until", "until", "until when it holds"))
    if since not in ("today", "earlier"):
        problems.append(Problem("/since", "since", "from when on"))
    if _one(fields, "adult") not in ("yes", "no"):
        problems.append(Problem("/adult", "adult", "whether they are of age"))
    if problems:
        raise Invalid(problems)
    form = _one(fields, "form")
    return Answer(form, name, signed_at, choices, labels, DAYS.get(until), since == "earlier")


def _one(fields: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(fields.get(name, ())), "").strip()


def _pair(text: str) -> tuple[str, str]:
    party, _, kind = text.partition("/")
    return party, kind


def consent(said: Answer, parties: Iterable[Party], method: str, reference: str) -> dict[str, Any]:
    """The consent that an answer comes to, as `POST /v1/directives` takes it."""
    signed = instant.format(said.signed_at)
    made: dict[str, Any] = {
        "signed_at": signed,
        "signature": {"method": method, "reference": reference, "name": said.name},
        "starts_at": signed,
        "statements": list(STATEMENTS),
        "grants": [
            {
                "id": f"{party.id}.{line.kind}",
                "disclosers": ["*"],
                "recipients": [party.id],
                "purposes": list(line.purposes),
                "categories": list(line.categories),
                "labels": [label for one, label in said.labels if one == party.id],
                "compartments": list(line.compartments),
                **({} if said.earlier else {"data_from": signed}),
            }
            for party in parties
            for line in party.lines
            if (party.id, line.kind) in said.choices
        ],
    }
    if said.days is None:
        return made | {"expires_on": "program-exit"}
    return made | {"expires_at": instant.format(said.signed_at + said.days * DAY_MS)}


def kept_out(restrictions: Iterable[Restriction], parties: Iterable[Party]) -> dict[str, str]:
    """Parties about whom a "never" stands, by id: whether it is about all of it (`all`) or some (`some`)."""
    found: dict[str, str] = {}
    for one in restrictions:
        for party in parties:
            if party.id in one.recipients or "*" in one.recipients:
                whole = all("*" in some for some in (one.purposes, one.categories, one.labels))
                found[party.id] = "all" if whole or found.get(party.id) == "all" else "some"
    return found


def glimpses(
    events: Iterable[Event],
    state: State,
    parties: Sequence[Party],
    at: int,
    policy: Policy,
    stakeholders: Stakeholders,
) -> list[Glimpse]:
    """Who would learn what of these events in that state: what `decide` says, for each purpose."""
    return [
        Glimpse(
            event,
            {
                party.id: parts
                for party in parties
                if (parts := _learned(event, party, state, at, policy, stakeholders))
            },
        )
        for event in events
    ]


def _learned(
    event: Event, party: Party, state: State, at: int, policy: Policy, stakeholders: Stakeholders
) -> tuple[str, ...]:
    purposes = {purpose for line in party.lines for purpose in line.purposes}
    made = [decide(event, party.id, one, at, state, policy, stakeholders) for one in sorted(purposes)]
    return tuple(sorted({part for one in made for part in one.compartments}))
