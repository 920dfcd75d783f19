"""Notices: the words of the law, attached by the obligation, and the consent's scope in plain words."""

import hashlib
import json
import re
import tomllib
from importlib.resources import files
from typing import Any

import pytest

from connectors import alert_rules, projection
from connectors.adapter import Share
from consent import fold, notices
from consent.decision import OBLIGATIONS
from consent.words import LANGUAGES, words_in
from hub import cards, rendering
from hub.language import tongue
from hub.today import Alert
from schemas import instant
from tests.delivery_scene import Keys, Nobody, event, granted, outbound, share_of

PART2 = "attach-part2-notice"
DAY = instant.parse("2027-03-01T00:00:00Z")
# of 42 CFR 2.32(a)(1) as published at 89 FR 12472, letters and digits only, lower case
STATEMENT_1 = "this record which has been disclosed to you is protected by federal confidentiality rules"
" 42 cfr part 2"


def full() -> str:
    return next(one.text for one in notices.NOTICES if one.form == "full")


def test_the_statements_are_the_laws() -> None:
    first, second = notices.attached([PART2])
    assert (first.citation, second.citation) == ("42 CFR 2.32(a)(1)", "42 CFR 2.32(a)(2)")
    assert second.text == "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
    assert " ".join(re.findall(r"[a-z0-9]+", first.text.lower())).startswith(STATEMENT_1)
    for words in (
        "in any civil, criminal, administrative, or legislative proceedings by any Federal, State, or local "
        "authority, against the patient, unless authorized by the consent of the patient",
        "except as provided at 42 CFR 2.12(c)(5) or as authorized by a court in accordance with 42 CFR"
        " 2.64 or 2.65",
        "(i) Further use or disclosure is expressly permitted by the written consent of the individual",
        "(ii) You are a covered entity or business associate and have received the record for treatment,"
        " payment, or "
        "health care operations, or",
        "(iii) You have received the record from a covered entity or business associate as permitted by"
        " 45 CFR part "
        "164, subparts A and E.",
        "is NOT sufficient to meet the required elements of written consent to further use or redisclose"
        " the record "
        "(see 42 CFR 2.31).",
    ):
        assert words in full()


def test_the_notices_are_those_of_the_file() -> None:
    file = files("consent").joinpath("notices.toml").read_text("utf-8")
    listed = [tuple(one.values()) for one in tomllib.loads(file)["notice"]]
    assert [tuple(one) for one in notices._read()] == [tuple(one) for one in notices.NOTICES] == listed


def test_nobody_edits_the_law_by_accident() -> None:
    digest = hashlib.sha256(" ".join(full().split()).encode()).hexdigest()
    assert digest == "d82205a18044f9f45776343d91e26d8ddb44bf13e136af169ec73d755facd9a8"


def test_it_is_not_the_wording_before_2024() -> None:
    assert "restrict any use of the information" not in full()
    assert "prohibits unauthorized disclosure" not in json.dumps([one.text for one in notices.NOTICES])


def test_only_the_obligation_attaches_it() -> None:
    for (_, part2, _), obligations in OBLIGATIONS.items():
        assert bool(notices.attached(obligations)) == part2
    assert notices.attached([]) == ()
    assert len(notices.attached([PART2, PART2])) == 2


@pytest.mark.parametrize(
    ("until", "on_exit", "english"),
    [
        (DAY, False, "until Mar 1, 2027 unless they take it back before."),
        (DAY, True, "until Mar 1, 2027 unless they leave the program or take it back before."),
        (None, True, "until they leave the program or take it back."),
        (None, False, "until they take it back."),
    ],
)
def test_the_scope_is_one_sentence(until: int | None, on_exit: bool, english: str) -> None:
    said = notices.scopes("care-coordination", ["occurrence", "subject"], until, on_exit=on_exit)
    assert said["en"] == (
        f"The person agreed that you may know who and when and where for care coordination, {english}"
    )
    assert said["es"].startswith(
        "La persona aceptó que usted sepa quién y cuándo y dónde para coordinar la atención"
    )
    assert said.keys() == set(LANGUAGES)
    assert ("programa" in said["es"]) == on_exit
    assert ("2027" in said["es"]) == (until is not None)


def test_the_scope_names_every_part_from_who_to_what() -> None:
    parts = ["legal", "activity", "something-new", "subject"]
    said = notices.scope(words_in("en"), "treatment", parts, None, on_exit=False)
    assert "who, what was done, legal facts, and something new for treatment" in said


def share(*obligations: str) -> Share:
    return Share("s1", "care-coordination", "consent", ("c1/g1",), ("subject",), obligations)


def view(shares: list[Share], state: Any) -> dict[str, Any]:
    record = outbound(event(1), share_of("s1"))
    scope = projection.scope_of(shares, state)
    return projection.seen(record, "reach", shares, scope, Keys(), Nobody()).view


def test_a_delivery_carries_both() -> None:
    shown = view([share("attach-consent-scope", PART2), share(PART2)], fold([granted("c1", ["reach"])]))
    assert [one["citation"] for one in shown["notices"]] == ["42 CFR 2.32(a)(1)", "42 CFR 2.32(a)(2)"]
    assert shown["notices"][0]["text"] == full()
    (line,) = shown["consent_scope"]
    assert line["said"]["en"] == (
        "The person agreed that you may know who for care coordination, until Jan 1, 2030 unless they"
        " take it back "
        "before."
    )
    assert json.loads(json.dumps(shown)) == shown


def test_a_delivery_without_the_label_carries_no_notice() -> None:
    shown = view([share("no-redisclosure")], fold([granted("c1", ["reach"])]))
    assert (shown["notices"], shown["consent_scope"]) == ([], [])


def test_the_end_of_the_program_is_said_until_it_has_come() -> None:
    consent = granted("c1", ["reach"])
    consent["consent"] |= {"expires_at": None, "expires_on": "program-exit"}
    (line,) = view([share("attach-consent-scope")], fold([consent]))["consent_scope"]
    assert line["until"] is None
    assert "until they leave the program" in line["said"]["en"]
    left = {"type": "program-exited", "at": "2026-08-01T00:00:00Z"}
    (line,) = view([share("attach-consent-scope")], fold([consent, left]))["consent_scope"]
    assert line["until"] == "2026-08-01T00:00:00.000Z"
    assert "until Aug 1, 2026 unless they take it back" in line["said"]["en"]


@pytest.mark.parametrize("place", ["waiting", "set_aside"])
def test_an_alert_shows_the_short_notice(place: str) -> None:
    def page(*shares: Share) -> str:
        shown = view(list(shares), fold([granted("c1", ["reach"])]))
        alert = Alert("d-1", "p-1", "booked-into-custody", "urgent", DAY, shown, None, None)
        card = cards.card(alert, tongue("en", "UTC"), DAY, 0, None, alert_rules.default())
        template = rendering._environment("en").get_template("_alerts.html")
        told: dict[str, Any] = {"waiting": [], "set_aside": [], "laters": [], "person": {"csrf": ""}}
        told |= dict.fromkeys(("as_of", "colleagues", "done", "mark", "more", "new_since", "said"), "")
        return template.render(told | {place: [("", [card | {"undo": False}])]})

    says = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
    assert says in page(share("no-redisclosure", PART2))
    assert "42 CFR" not in page(share("no-redisclosure"))
