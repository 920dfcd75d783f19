"""What a directive says and what it changed, in a privacy officer's words. Only the rule is read: nothing
personal stands in it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from consent.course import Line, Step
from consent.untyped import ALL, TREATING, mapping, text, texts
from hub import helping
from hub.language import Tongue
from schemas import instant
from schemas.errors import BadTime

GRANTS_TOLD_MAX: Final = 6


def recipient(name: str, names: Mapping[str, str], words: Tongue) -> str:
    """What a recipient is called where it may also be a class, or everybody."""
    if name == ALL:
        return words.say("everybody")
    if name == TREATING:
        return words.say("those who treat them")
    if helping.is_one(name):
        return helping.called(name, names, words)
    return names.get(name, name)


def said(body: Any, names: Mapping[str, str], words: Tongue) -> str:
    """A directive's rule (its JSON object), as a sentence."""
    rule = mapping(body)
    told = _SAID.get(text(rule.get("type")) or "")
    return told(rule, names, words) if told else words.say("Something that the hub does not know.")


def order(rule: Mapping[Any, Any], names: Mapping[str, str], words: Tongue) -> str:
    """A court order's directive."""
    filed = rule.get("order")
    if not isinstance(filed, Mapping):
        return words.say("Lift a court order that is on record.")
    name = str(filed.get("recipient"))
    sentence = words.say(
        "%(recipient)s may receive %(categories)s from %(start)s until %(end)s.",
        recipient=names.get(name, name),
        categories=_terms("category", texts(filed.get("categories")), words),
        start=_day(filed.get("starts_at"), words),
        end=_day(filed.get("expires_at"), words),
    )
    if filed.get("subpoena"):
        return sentence
    return words.say("%(sentence)s Without a subpoena it permits nothing.", sentence=sentence)


def _granted(rule: Mapping[Any, Any], names: Mapping[str, str], words: Tongue) -> str:
    consent = mapping(rule.get("consent"))
    listed = consent.get("grants")
    grants = [mapping(one) for one in listed] if isinstance(listed, list) else []
    end = _day(consent.get("expires_at"), words) if consent.get("expires_at") is not None else None
    helped = bool(helping.named(rule))
    told = [_grant(grant, names, words, helped=helped) for grant in grants[:GRANTS_TOLD_MAX]]
    if len(grants) > GRANTS_TOLD_MAX:
        told.append(words.say("%(count)s others", count=words.number(len(grants) - GRANTS_TOLD_MAX)))
    what = "; ".join(told)
    if consent.get("expires_on") == "program-exit":
        if end is not None:
            return words.say("They agreed, until %(end)s or until they leave: %(what)s.", end=end, what=what)
        return words.say("They agreed, until they leave the program: %(what)s.", what=what)
    if end is not None:
        return words.say("They agreed, until %(end)s: %(what)s.", end=end, what=what)
    return words.say("They agreed, until they take it back: %(what)s.", what=what)


def _grant(grant: Mapping[Any, Any], names: Mapping[str, str], words: Tongue, *, helped: bool) -> str:
    whom = _some((recipient(one, names, words) for one in texts(grant.get("recipients"))), words)
    if helped and grant.get("id") == helping.ACTS:
        return words.say("%(recipients)s may see their own page, and act on it for them", recipients=whom)
    if helped:
        return words.say("%(recipients)s may see their own page", recipients=whom)
    return words.say(
        "%(recipients)s may learn about %(categories)s, for %(purposes)s",
        recipients=whom,
        categories=_terms("category", texts(grant.get("categories")), words),
        purposes=_terms("purpose", texts(grant.get("purposes")), words),
    )


def _revoked(rule: Mapping[Any, Any], names: Mapping[str, str], words: Tongue) -> str:
    parties, grants = texts(rule.get("recipients")), texts(rule.get("grants"))
    if not parties and not grants:
        return words.say("They took a consent back, all of it.")
    told = []
    if parties:
        told.append(_some((recipient(one, names, words) for one in parties), words))
    if grants:
        told.append(words.say_for(len(grants), "%(count)s part of it", "%(count)s parts of it"))
    return words.say("They took a consent back, as far as it concerns %(what)s.", what=words.listed(told))


def _never(rule: Mapping[Any, Any], names: Mapping[str, str], words: Tongue) -> str:
    restriction = mapping(rule.get("restriction"))
    purposes = texts(restriction.get("purposes"))
    return words.say(
        "They said never: %(recipients)s may not learn about %(categories)s, for %(purposes)s.",
        recipients=_some(
            (recipient(one, names, words) for one in texts(restriction.get("recipients"))), words
        ),
        categories=_terms("category", texts(restriction.get("categories")), words),
        purposes=_terms("purpose", purposes, words),
    )


def _lifted(_rule: Mapping[Any, Any], _names: Mapping[str, str], words: Tongue) -> str:
    return words.say("They lifted what they had said never about.")


def _left(_rule: Mapping[Any, Any], _names: Mapping[str, str], words: Tongue) -> str:
    return words.say("They left the program. What they agreed to until then ended.")


def _emergency(rule: Mapping[Any, Any], names: Mapping[str, str], words: Tongue) -> str:
    emergency = mapping(rule.get("emergency"))
    name = str(emergency.get("recipient"))
    return words.say(
        "%(recipient)s declared a medical emergency, until %(end)s.",
        recipient=names.get(name, name),
        end=_time(emergency.get("expires_at"), words),
    )


_SAID: Final[dict[str, Callable[[Mapping[Any, Any], Mapping[str, str], Tongue], str]]] = {
    "consent-granted": _granted,
    "consent-revoked": _revoked,
    "restriction-placed": _never,
    "restriction-lifted": _lifted,
    "order-filed": order,
    "order-vacated": order,
    "emergency-declared": _emergency,
    "program-exited": _left,
}


def effects(step: Step, names: Mapping[str, str], words: Tongue) -> list[str]:
    """What it changed, a sentence for each kind of change; that it changed nothing, where it did not."""
    if step.idle:
        return [words.say("It changed nothing: what it speaks of was so already, or is not on record.")]
    told = []
    for lines, allowed, never in (
        (
            step.gained,
            words.say("From then on something may go to %(whom)s."),
            words.say("From then on never for %(whom)s."),
        ),
        (
            step.lost,
            words.say("From then on nothing goes by it to %(whom)s."),
            words.say("No longer never for %(whom)s."),
        ),
        (
            step.moved,
            words.say("It lasts another time for %(whom)s."),
            words.say("It lasts another time for %(whom)s."),
        ),
    ):
        told += [
            sentence % {"whom": _some(whom, words)}
            for sentence, whom in (
                (allowed, _whom(lines, names, words, never=False)),
                (never, _whom(lines, names, words, never=True)),
            )
            if whom
        ]
    return told


def _whom(lines: Sequence[Line], names: Mapping[str, str], words: Tongue, *, never: bool) -> list[str]:
    found = {one.recipient: None for one in lines if (one.kind == "restriction") is never}
    return [recipient(one, names, words) for one in found]


def _terms(context: str, codes: Sequence[str], words: Tongue) -> str:
    if ALL in codes:
        return words.say("everything")
    return _some((words.term(context, one) for one in codes), words) if codes else words.say("nothing")


def _some(items: Iterable[str], words: Tongue) -> str:
    listed = list(items)
    return words.some(listed) if listed else words.say("nobody")


def _day(value: object, words: Tongue) -> str:
    try:
        return words.day(instant.parse(text(value) or ""))
    except BadTime:
        return "?"


def _time(value: object, words: Tongue) -> str:
    try:
        return words.exact(instant.parse(text(value) or ""))
    except BadTime:
        return "?"
