"""The words of alerts: every rule has its sentences in both languages; a program's own rules bring theirs."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from babel.messages.pofile import read_po

from connectors.alert_rules import KNOWN, default, read
from hub.alerting import say, tell
from hub.language import _FOLDER, LANGUAGES, Tongue, tongue
from schemas import instant
from schemas.compartments import symbols

NOW = instant.parse("2026-11-24T08:00:00Z")
VIEW: dict[str, Any] = {"type": "contact", "data": {"subject": {"name": "Rosa Maldonado"}}}


def told(rule: str, **fields: Any) -> Any:
    view = {**VIEW, "data": {**VIEW["data"], "occurrence": fields}}
    return SimpleNamespace(rule=rule, view=view)


def blanks(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_says_what_happened_and_what_to_do_next(language: str) -> None:
    texts = Tongue(language)._texts
    for context, cases in (("alert", KNOWN), ("next", KNOWN), ("notice", ("urgent", "digest"))):
        for case in cases:
            assert texts.pgettext(context, case) != case, (context, case)
    for step in symbols("Step"):
        assert texts.pgettext("told", f"service-engagement.{step}") != f"service-engagement.{step}"


def test_both_languages_have_the_same_cases_with_the_same_blanks() -> None:
    found = []
    for language in LANGUAGES:
        with (_FOLDER / language / "LC_MESSAGES" / "alerts.po").open("rb") as source:
            kept = read_po(source, locale=language, abort_invalid=True)
        found.append({(one.context, one.id): blanks(str(one.string)) for one in kept if one.id})
        assert all(one.string for one in kept if one.id)
    assert found[0] == found[1]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("rule", sorted(KNOWN))
def test_no_blank_is_left_whatever_is_known(language: str, rule: str) -> None:
    words = tongue(language, "America/Los_Angeles")
    facts = {"days": 30, "agency": "county-jail"}
    for fields in ({}, {"facility": "County Jail", "hearing": {"at": "2026-11-25T17:00:00Z"}}):
        one = told(rule, **fields)
        one.view |= facts
        said = say(one, words, NOW)
        assert said.who == "Rosa Maldonado"
        assert "%(" not in said.what + said.next
        assert rule in ("somebody-unknown", "letter-waiting") or "Rosa Maldonado" in said.what


def test_who_is_not_named_is_called_by_what_the_organisation_calls_them() -> None:
    words = tongue("en", "UTC")
    nameless = SimpleNamespace(rule="crisis", view={"type": "contact", "data": {}, "local_id": "4711"})
    assert say(nameless, words, NOW).what == "Your participant 4711 is in crisis."
    assert say(SimpleNamespace(rule="crisis", view={}), words, NOW).what == "One of your people is in crisis."


def test_a_hearing_is_told_by_the_clocks_of_the_place() -> None:
    one = told("hearing-ahead", hearing={"at": "2026-11-25T17:00:00Z"})
    assert "Wednesday 9:00" in say(one, tongue("en", "America/Los_Angeles"), NOW).what
    assert "miércoles 9:00" in say(one, tongue("es", "America/Los_Angeles"), NOW).what


def test_a_rule_of_ones_own_brings_its_words_and_nobody_can_make_them_say_more() -> None:
    rules = read(
        """
[[rule]]
name = "moved-in"
urgency = "information"
when = [{ type = "service-engagement", is = { step = "started" } }]
says = { en = "%(who)s moved in.", es = "%(who)s se mudó." }
next = { en = "Bring keys.", es = "Lleve las llaves." }
"""
    )
    one = told("moved-in")
    one.view["data"]["subject"] = {"name": "%(who)s %s {0}"}
    assert say(one, tongue("en", "UTC"), NOW, rules).what == "%(who)s %s {0} moved in."
    assert say(one, tongue("es", "UTC"), NOW, rules).next == "Lleve las llaves."


def test_what_never_was_an_alert_is_told_too() -> None:
    words = tongue("en", "UTC")
    step = SimpleNamespace(
        rule="",
        view={"type": "service-engagement", "data": {**VIEW["data"], "activity": {"step": "completed"}}},
    )
    assert tell(step, words, NOW) == "Rosa Maldonado completed a service."
    assert tell(told("", facility="Harbor House"), words, NOW) == (
        "Rosa Maldonado: somebody was in touch, Harbor House."
    )
    assert tell(told("crisis"), words, NOW) == "Rosa Maldonado is in crisis."


def test_the_defaults_have_a_sentence_each() -> None:
    assert {rule.name for rule in default().rows} == KNOWN
