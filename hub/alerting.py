"""What an alert says, in the reader's language: who, what happened, what to do next.

The words stand in the catalogue `alerts`, by the names of the rules; a program's own rules bring theirs.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from connectors.alert_rules import Rules, default, flat, time_of
from hub.language import Tongue

_WHEN: Final = {  # the field whose time belongs into the sentence
    "release-expected": "release_expected_at",
    "release-ahead": "release_expected_at",
    "hearing-set": "hearing.at",
    "hearing-moved": "hearing.at",
    "hearing-ahead": "hearing.at",
    "arrest-diversion-waiting": "handoff_due_at",
}
_PASSED_ON: Final = ("consent-revoked", "consent-narrowed", "restriction-placed")
_SAID: Final = ".said"  # another organisation passed their word on


class Told(Protocol):
    """An alert, or a line of a timeline."""

    @property
    def rule(self) -> str: ...
    @property
    def view(self) -> Mapping[str, Any]: ...


class Said(NamedTuple):
    """`who` is the person's name, `what` a sentence, `next` another one that says what to do."""

    who: str
    what: str
    next: str


def say(told: Told, words: Tongue, now_ms: int, rules: Rules | None = None) -> Said:
    """An alert in words. In: the time; the rules in force, where they are not the defaults."""
    who = _who(told.view, words)
    rule = (rules or default()).named(told.rule)
    if rule is not None and rule.says is not None and rule.next is not None:
        filled = {name: text.replace("%(who)s", who) for name, text in rule.says.items()}
        return Said(who, filled[words.language], rule.next[words.language].replace("%(who)s", who))
    case, values = _case(told, words, now_ms)
    then = case if case.endswith(_SAID) else told.rule
    return Said(who, words.filled("alert", case, {"who": who, **values}), words.filled("next", then, {}))


def tell(told: Told, words: Tongue, now_ms: int, rules: Rules | None = None) -> str:
    """One line of a timeline, in words."""
    if told.rule:
        return say(told, words, now_ms, rules).what
    fields, kind = flat(told.view), str(told.view.get("type", "contact"))
    where = fields.get("facility") or fields.get("place.description")
    case = kind
    if kind == "service-engagement" and "step" in fields:
        case = f"{kind}.{fields['step']}"
    elif kind == "contact" and where:
        case = "contact.where"
    return words.filled("told", case, {"who": _who(told.view, words), "where": where or ""})


def _who(view: Mapping[str, Any], words: Tongue) -> str:
    name = view.get("data", {}).get("subject", {}).get("name")
    if name:
        return str(name)
    if view.get("local_id"):
        return words.filled("alert", "someone.id", {"id": view["local_id"]})
    return words.filled("alert", "someone", {})


def _case(told: Told, words: Tongue, now_ms: int) -> tuple[str, dict[str, object]]:
    """Which sentence of the rule's it is, and what is filled in."""
    fields, case = flat(told.view), told.rule
    values: dict[str, object] = {name: told.view[name] for name in ("days", "agency") if name in told.view}
    at = time_of(fields, _WHEN.get(case))
    if at is not None:
        return f"{case}.when", {**values, "when": words.moment(at, now_ms)}
    if case == "consent-expires" and values.get("days") == 1:
        return f"{case}.tomorrow", values
    if case in ("booked-into-custody", "released") and "facility" in fields:
        return f"{case}.where", {**values, "where": fields["facility"]}
    if case in _PASSED_ON and "agency" in values:
        return f"{case}{_SAID}", values
    return case, values
