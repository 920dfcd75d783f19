"""Why something was shared, or was not: one sentence in people's words, and below it what decided.

Explaining reads the participant's record anew and plainly; what it says follows the decision that it is
given and never changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from consent import nearest
from consent.asked import Asked
from consent.decision import CONSENT, COURT_ORDER, EMERGENCY, PROCEEDINGS, Decision
from consent.event import Event
from consent.nearest import Miss
from consent.policy import Policy
from consent.record import Record
from consent.stakeholder import Stakeholder, Stakeholders
from consent.state import State
from consent.untyped import NEVER_MS, lineage
from consent.words import Words, words_in

RULE_OF: Final = {
    "indeterminate": 1,
    "no-agreement": 2,
    "role": 3,
    "court-order": 4,
    "proceedings": 5,
    "counselling-notes": 6,
    "emergency": 7,
    "no-emergency": 7,
    "restriction": 8,
    "consent": 9,
    "revoked": 10,
    "expired": 11,
    "not-started": 12,
    "no-consent": 13,
}

Address = Literal["participant", "officer"]


class Cited(NamedTuple):
    """A consent, restriction, order or emergency, and the offsets of the directives that made it as it is."""

    kind: str
    id: str
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """An explanation, all texts in the reader's language.

    `rule` is the number of the rule that decided and `statement` what it says; `cited` is what it rests on,
    or what came nearest. `nearest` is there on a denial that a single consent, order or emergency could have
    turned, and `missing` says in words what it did not cover.
    """

    sentence: str
    rule: int
    statement: str
    cited: tuple[Cited, ...]
    nearest: Miss | None
    missing: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The shape in which commands print it."""
        miss = self.nearest
        return {
            "sentence": self.sentence,
            "rule": self.rule,
            "statement": self.statement,
            "cited": [{"kind": one.kind, "id": one.id, "offsets": list(one.offsets)} for one in self.cited],
            "nearest": None
            if miss is None
            else {
                "kind": miss.kind,
                "id": miss.id,
                "dimensions": list(miss.dimensions),
                "missing": list(self.missing),
            },
        }


@dataclass(slots=True)
class _Found:
    """What there is to say: which sentence, with what in it, and what it refers to."""

    case: str
    rule: int
    values: dict[str, str] = field(default_factory=dict)
    cited: list[Cited] = field(default_factory=list)
    miss: Miss | None = None


def explain(
    decision: Decision,
    event: Event | Mapping[str, object] | None,
    recipient: object,
    purpose: object,
    at: int | str | None,
    state: State,
    policy: Policy,
    stakeholders: Stakeholders,
    *,
    words: Words | None = None,
    names: Mapping[str, str] | None = None,
    to: Address = "officer",
) -> Explanation:
    """Explain what `decide` said about the same inputs.

    `words` is the reader's language (English where left out), `names` what stakeholders are called, by id;
    `to` says whether the participant reads it, who is then spoken to.
    """
    said = words_in("en") if words is None else words
    called = names or {}
    asked = Asked.of(event, recipient, purpose, at, policy, stakeholders)
    if isinstance(asked, str):
        found = _Found("indeterminate", RULE_OF["indeterminate"], {"what": said.term("needed", asked)})
    else:
        found = _found(decision, asked, state.record(), said)
        found.values = _usual(asked, said, called) | found.values
    found.values["recipient"] = _name(stakeholders.get(recipient), said, called)
    miss = found.miss
    return Explanation(
        sentence=said.told(found.case, to, found.values),
        rule=found.rule,
        statement=said.term("rule", str(found.rule)),
        cited=tuple(found.cited),
        nearest=miss,
        missing=() if miss is None else tuple(said.term("dimension", one) for one in miss.dimensions),
    )


def _usual(asked: Asked, words: Words, names: Mapping[str, str]) -> dict[str, str]:
    """What most sentences speak of."""
    return {
        "purpose": words.term("purpose", asked.purpose),
        "category": words.term("category", asked.event.category),
        "discloser": _name(asked.discloser, words, names),
        "roles": words.term("roles", asked.recipient.role or "unknown"),
        "what": words.term("needed", "event"),
    }


def _name(stakeholder: Stakeholder | None, words: Words, names: Mapping[str, str]) -> str:
    """What a stakeholder is called; by its role where it has no name."""
    if stakeholder is None:
        return words.term("somebody", "unknown")
    return names.get(stakeholder.id) or words.term("somebody", stakeholder.role or "unknown")


def _found(decision: Decision, asked: Asked, record: Record, words: Words) -> _Found:
    """What there is to say about a decision, by its reason."""
    reason = decision.reason
    if decision.basis is not None:
        found = _shared(decision, asked, record, words)
    elif reason == "no-agreement":
        found = _no_agreement(asked, words)
    elif reason == PROCEEDINGS:
        found = _no_order(asked, record, words)
    elif reason == "no-emergency":
        found = _no_emergency(asked, record)
    elif reason == "restriction":
        cited = [_standing("restriction", one.id, record) for one in nearest.restrictions(asked, record)]
        found = _Found(reason, RULE_OF[reason], cited=cited)
    elif reason == "nothing-shareable":
        found = _nothing(asked, record, words)
    elif reason in ("role", "indeterminate"):
        found = _Found(reason, RULE_OF[reason])
    else:
        found = _no_grant(reason, asked, record, words)
    return found


def _shared(decision: Decision, asked: Asked, record: Record, words: Words) -> _Found:
    basis = decision.basis
    if basis == CONSENT:
        counted = [one for one in nearest.grants(asked, record) if one.id in decision.grants]
        names = {name for one in counted if one.grant is not None for name in one.grant.categories}
        covering = [name for name in lineage(asked.event.category) if name in names][-1:]
        agreed = words.some(words.term("category", name) for name in covering or [asked.event.category])
        return _Found(CONSENT, RULE_OF[CONSENT], {"agreed": agreed}, _consents(counted))
    kind = "order" if basis == COURT_ORDER else "emergency"
    return _Found(
        decision.reason,
        RULE_OF[decision.reason],
        cited=[_standing(kind, name, record) for name in decision.grants],
    )


def _no_agreement(asked: Asked, words: Words) -> _Found:
    recipient, rule = asked.recipient, RULE_OF["no-agreement"]
    if recipient.since == NEVER_MS:
        return _Found("no-agreement", rule)
    if asked.at < recipient.since:
        return _Found("no-agreement.early", rule, {"day": words.day(recipient.since)})
    return _Found("no-agreement.ended", rule, {"day": words.day(recipient.until)})


def _no_order(asked: Asked, record: Record, words: Words) -> _Found:
    miss = nearest.nearest([*nearest.orders(asked, record), *nearest.grants(asked, record)])
    found = _Found(PROCEEDINGS, RULE_OF[PROCEEDINGS], cited=_near(miss, record), miss=miss)
    if miss is not None and miss.only in ("subpoena", "order-period", "dedicated"):
        found.case = f"{PROCEEDINGS}.{miss.only}"
        found.values = _agreed(miss, asked, words)
    return found


def _no_emergency(asked: Asked, record: Record) -> _Found:
    if not asked.recipient.medical:
        return _Found("no-emergency.not-medical", RULE_OF["no-emergency"])
    miss = nearest.nearest(nearest.emergencies(asked, record))
    return _Found("no-emergency", RULE_OF["no-emergency"], cited=_near(miss, record), miss=miss)


def _nothing(asked: Asked, record: Record, words: Words) -> _Found:
    """A permit of which nothing was left: by the policy, or by what the grants that count leave out."""
    policy, event = asked.policy, asked.event
    row = policy.shareable(asked.recipient.role, event.category, asked.purpose) or 0
    left = (policy.carried(tuple(event.compartments)) or 0) & row
    orders = [one for one in nearest.orders(asked, record) if not one.dimensions]
    if asked.purpose == PROCEEDINGS and orders:
        return _Found("nothing-shareable", RULE_OF[COURT_ORDER], cited=_all_near(orders, record))
    if asked.purpose == EMERGENCY:
        declared = [one for one in nearest.emergencies(asked, record) if not one.dimensions]
        return _Found("nothing-shareable", RULE_OF[EMERGENCY], cited=_all_near(declared, record))
    counting = [one for one in nearest.grants(asked, record) if not one.dimensions]
    found = _Found("nothing-shareable", RULE_OF[CONSENT], cited=_consents(counting))
    if left:
        parts = words.some(words.term("compartment", name) for name in policy.names(left))
        found.case, found.values = "nothing-shareable.compartment", {"parts": parts}
    return found


def _no_grant(reason: str, asked: Asked, record: Record, words: Words) -> _Found:
    alone = reason if reason in ("revoked", "expired", "not-started") else None
    miss = nearest.nearest(nearest.grants(asked, record), alone)
    found = _Found(reason, RULE_OF[reason], cited=_near(miss, record), miss=miss)
    if miss is None:
        found.case = "no-consent.none" if reason == "no-consent" else reason
    elif miss.only is not None and miss.grant is not None and miss.held is not None:
        values, only = _agreed(miss, asked, words), miss.only
        case = f"{reason}.{only}"
        if only == "label":
            missed = sorted(set(asked.event.labels) - set(miss.grant.labels))
            values["labels"] = words.some(words.term("label", one) for one in missed)
        elif only == "data-period":
            early = asked.event.occurred_at < miss.grant.data_from
            case += ".early" if early else ".late"
            values["day"] = words.day(miss.grant.data_from if early else miss.grant.data_until)
        elif only == "signed":
            values["day"] = words.day(miss.held.consent.signed_at)
        elif only == "not-started":
            values["day"] = words.day(miss.held.consent.starts_at)
        elif only == "expired":
            values["day"] = words.day(miss.held.expires_at)
        if words.has(case):
            found.case, found.values = case, values
    return found


def _agreed(miss: Miss, asked: Asked, words: Words) -> dict[str, str]:
    """What a grant is about: its categories, but for those that the policy lacks and those under others."""
    if miss.grant is None:
        return {}
    known = {name for covering in asked.policy.lineages.values() for name in covering}
    listed = known.intersection(miss.grant.categories)
    broadest = sorted(name for name in listed if listed.isdisjoint(lineage(name)[1:]))
    return {"agreed": words.some(words.term("category", name) for name in broadest or ["nothing"])}


def _near(miss: Miss | None, record: Record) -> list[Cited]:
    return [] if miss is None else _all_near([miss], record)


def _all_near(misses: list[Miss], record: Record) -> list[Cited]:
    return [
        *_consents([one for one in misses if one.kind == "grant"]),
        *(_standing(one.kind, one.id, record) for one in misses if one.kind != "grant"),
    ]


def _consents(misses: list[Miss]) -> list[Cited]:
    """The consents of grants, each once."""
    held = {one.held.consent.id: one.held for one in misses if one.held is not None}
    return [Cited("consent", name, tuple(one.offsets)) for name, one in sorted(held.items())]


def _standing(kind: str, name: str, record: Record) -> Cited:
    offset = record.standing.get((kind, name))
    return Cited(kind, name, () if offset is None else (offset,))
