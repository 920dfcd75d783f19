"""The county's own reading of the disclosure rule: plain, slow, and written apart from the hub's.

It exists so that what the hub did can be counted by something that shares no line with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from examples.county.record import Held, Json, emergencies, grants_of, held, instant, standing, texts, within

BY_NAME_ONLY = ("police", "prosecutor", "public-defender", "court")
EMERGENCY_COMPARTMENTS = frozenset({"subject", "occurrence", "clinical"})


@dataclass(frozen=True)
class Answer:
    """What one question of disclosure comes to.

    `effect` is `permit` or `deny`, `reason` the rule that matched; the lists are sorted, empty on a denial.
    """

    effect: str
    reason: str
    basis: str | None = None
    grants: tuple[str, ...] = ()
    compartments: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()

    @property
    def permitted(self) -> bool:
        """Whether anything may go."""
        return self.effect == "permit"


def covers(broad: str, narrow: str) -> bool:
    """Whether category `broad` is `narrow` or stands above it."""
    return narrow == broad or narrow.startswith(broad + ".")


def covered(listed: object, category: str) -> bool:
    """Whether one of the listed categories covers this one."""
    return any(covers(one, category) for one in texts(listed))


def names(listed: object, stakeholder: Json) -> bool:
    """Whether a list of recipients names this stakeholder, by its id or by its class."""
    listed = texts(listed)
    in_class = stakeholder.get("treating") is True and stakeholder.get("role") not in BY_NAME_ONLY
    return stakeholder["id"] in listed or (in_class and "class:treating-provider" in listed)


def in_force(stakeholder: Json, at: int) -> bool:
    """Whether the stakeholder's data-sharing agreement holds at the instant."""
    agreement = stakeholder.get("agreement")
    return isinstance(agreement, Mapping) and within(at, agreement.get("from"), agreement.get("until"))


@dataclass(frozen=True)
class Question:
    """One event, one recipient, one purpose, one instant; everything already known to be readable."""

    participant: str
    category: str
    labels: tuple[str, ...]
    discloser: Json
    occurred: int
    compartments: tuple[str, ...]
    recipient: Json
    purpose: str
    at: int


def question(event: Json, request: Json, policy: Json, known: Mapping[str, Json]) -> Question | None:
    """The question that an event and a request ask, or None where one cannot be made of them (rule 1)."""
    labels, carried = event.get("labels"), event.get("compartments")
    labels, carried = ([] if labels is None else labels), ([] if carried is None else carried)
    named = all(isinstance(event.get(key), str | None) for key in ("id", "type"))
    if not named or not all(isinstance(value, list | tuple) for value in (labels, carried)):
        return None
    participant, category, purpose = event.get("participant"), event.get("category"), request.get("purpose")
    discloser, recipient = event.get("discloser"), request.get("recipient")
    listed = (participant, category, purpose, discloser, recipient)
    if not all(isinstance(value, str) and value for value in (*listed, *labels, *carried)):
        return None
    occurred, at = instant(event.get("occurred_at")), instant(request.get("at"))
    if occurred is None or at is None or recipient not in known or discloser not in known:
        return None
    if category not in policy["categories"] or purpose not in policy["purposes"]:
        return None
    if not set(labels) <= set(policy["labels"]) or not set(carried) <= set(policy["compartments"]):
        return None
    return Question(
        str(participant), str(category), tuple(labels), known[str(discloser)], occurred, tuple(carried),
        known[str(recipient)], str(purpose), at,
    )  # fmt: skip


def reaches(grant: Json, ask: Question) -> bool:
    """Whether a grant's words cover the disclosure, whatever became of its consent."""
    disclosers = texts(grant.get("disclosers"))
    listed = ask.discloser["id"] in disclosers or ("*" in disclosers and in_force(ask.discloser, ask.at))
    since, until = instant(grant.get("data_from")), instant(grant.get("data_until"))
    return (
        isinstance(grant.get("id"), str)
        and listed
        and names(grant.get("recipients"), ask.recipient)
        and ask.purpose in texts(grant.get("purposes"))
        and covered(grant.get("categories"), ask.category)
        and set(ask.labels) <= set(texts(grant.get("labels")))
        and (since is None or since <= ask.occurred)
        and (until is None or ask.occurred <= until)
    )


def troubles(mine: Held, grant: Json, ask: Question) -> set[str]:
    """What stands between a covering grant and its use: any of unsigned, not-started, expired, revoked."""
    found = set()
    consent = mine.consent
    if (instant(consent["signed_at"]) or 0) > ask.at:
        found.add("unsigned")
    if (instant(consent["starts_at"]) or 0) > ask.at:
        found.add("not-started")
    ends = [end for end in (instant(consent.get("expires_at")), mine.exited_at) if end is not None]
    if ends and min(ends) < ask.at:
        found.add("expired")
    if mine.whole or grant.get("id") in mine.grants or names(mine.parties, ask.recipient):
        found.add("revoked")
    return found


def restricted(one: Json, ask: Question) -> bool:
    """Whether a restriction (the participant's "never") matches the question."""

    def matches(key: str, hit: bool) -> bool:
        return hit or "*" in texts(one.get(key))

    return (
        matches("recipients", names(one.get("recipients"), ask.recipient))
        and matches("purposes", ask.purpose in texts(one.get("purposes")))
        and matches("categories", covered(one.get("categories"), ask.category))
        and matches("labels", bool(set(ask.labels) & set(texts(one.get("labels")))))
    )


def dedicated(consent: Json, to: str) -> bool:
    """Whether a whole consent, as signed, was given for proceedings alone, or names such notes throughout."""
    if to == "proceedings":
        return all(set(texts(one.get("purposes"))) == {"proceedings"} for one in grants_of(consent))
    return all(to in texts(one.get("labels")) for one in grants_of(consent))


def permit(ask: Question, basis: str, grants: Iterable[str], row: set[str], parts: set[str] | None) -> Answer:
    """A permit with what is left to share and what it obliges to; a denial where nothing is left."""
    shared = set(ask.compartments) & row
    if parts is not None and "*" not in parts:
        shared &= parts
    if not shared:
        return Answer("deny", "nothing-shareable")
    duties = {"record-disclosure"}
    if basis == "consent":
        duties |= {"attach-consent-scope", "no-redisclosure"}
    if basis == "emergency":
        duties.add("review-emergency")
    if "part2" in ask.labels:
        duties.add("attach-part2-notice")
        if ask.purpose != "proceedings":
            duties.add("not-for-proceedings")
    ids = tuple(sorted(set(grants)))
    return Answer("permit", basis, basis, ids, tuple(sorted(shared)), tuple(sorted(duties)))


def answer(
    event: Json, request: Json, directives: Sequence[Json], policy: Json, stakeholders: Sequence[Json]
) -> Answer:
    """What the rule says of one event and one request, after these directives in this order.

    `event` and `request` are the JSON objects of `hub decide`; times are RFC 3339. The rules are asked one
    after the other, and the first that matches answers. Read from the page that states the rule.
    """
    ask = question(event, request, policy, {one["id"]: one for one in stakeholders})
    if ask is None:
        return Answer("deny", "indeterminate")
    if not in_force(ask.recipient, ask.at):
        return Answer("deny", "no-agreement")
    rows = [
        row
        for row in policy["matrix"]
        if row["role"] == ask.recipient.get("role")
        and covers(row["category"], ask.category)
        and ask.purpose in row["purposes"]
    ]
    if not rows:
        return Answer("deny", "role")
    allowed = {part for row in rows for part in row["compartments"]}
    if ask.purpose == "proceedings":
        orders = [
            one["id"]
            for one in standing(directives, "order-filed", "order", "order-vacated")
            if one.get("recipient") == ask.recipient["id"]
            and one.get("subpoena") is True
            and covered(one.get("categories"), ask.category)
            and one.get("expires_at") is not None
            and within(ask.at, one.get("starts_at"), one.get("expires_at"))
        ]
        if orders:
            return permit(ask, "court-order", orders, allowed, None)
    return by_consent(ask, directives, allowed)


def by_consent(ask: Question, directives: Sequence[Json], allowed: set[str]) -> Answer:
    """The rules from the fifth on: consents, emergencies and restrictions."""
    covering = [
        (mine, grant, troubles(mine, grant, ask))
        for mine in held(directives).values()
        for grant in grants_of(mine.consent)
        if reaches(grant, ask)
    ]
    counting = [(mine, grant) for mine, grant, found in covering if not found]
    for to, asked in (
        ("proceedings", ask.purpose == "proceedings"),
        ("counselling-notes", "counselling-notes" in ask.labels),
    ):
        if asked:
            counting = [(mine, grant) for mine, grant in counting if dedicated(mine.consent, to)]
            if not counting:
                return Answer("deny", to)
    if ask.purpose == "emergency":
        open_ones = [
            one["id"]
            for one in emergencies(directives)
            if one["recipient"] == ask.recipient["id"]
            and within(ask.at, one["declared_at"], one["expires_at"])
            and ask.recipient.get("medical") is True
        ]
        if not open_ones:
            return Answer("deny", "no-emergency")
        return permit(ask, "emergency", open_ones, allowed, set(EMERGENCY_COMPARTMENTS))
    placed = standing(directives, "restriction-placed", "restriction", "restriction-lifted")
    if any(restricted(one, ask) for one in placed):
        return Answer("deny", "restriction")
    if counting:
        parts = {part for _, grant in counting for part in texts(grant.get("compartments"))}
        ids = [f"{mine.consent['id']}/{grant.get('id')}" for mine, grant in counting]
        return permit(ask, "consent", ids, allowed, parts)
    only = [next(iter(found)) for _, _, found in covering if len(found) == 1]
    for reason in ("revoked", "expired", "not-started"):
        if reason in only:
            return Answer("deny", reason)
    return Answer("deny", "no-consent")
