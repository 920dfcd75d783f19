"""Who learned what about a participant: what left, what may have left, and nothing that did not."""

import contextlib
import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader
from typer.testing import CliRunner

from hub import accounting, report
from hub.accounting import STAYED, Attempt, TooMuch, account, disclosed, gone
from hub.handout import NoLetter, handout
from hub.language import tongue
from hub.projections import Read, project
from hub.registration import described
from hub.store import Store
from hub.tables import merges
from schemas import instant
from tests.desk import Desk, consent, desk

NOW = 1_780_000_000_000
DAY = 24 * 3_600_000
SHARE = {"purpose": "treatment", "basis": "consent", "grants": ["c-1/g1"], "compartments": ["subject"]}


def attempt(**more: Any) -> Attempt:
    one = Attempt("e-1", "clinic", "webhook", NOW, [SHARE], "delivered", "http-200", NOW + 5)
    return one._replace(**more)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"outcome": None, "code": None, "ended_at": None}, None),
        ({"outcome": "failed", "code": "timeout"}, None),
        ({"outcome": "failed", "code": "http-500"}, None),
        ({"outcome": "refused", "code": "http-410"}, None),
        ({"outcome": "failed", "code": "tls"}, None),
        ({"outcome": "failed", "code": "connect"}, False),
        ({"outcome": "failed", "code": "connect", "adapter": "sftp"}, None),
        ({"outcome": "failed", "code": "not-begun"}, False),
        ({"outcome": "refused", "code": "too-large", "adapter": "feed"}, False),
        ({"adapter": "pull", "code": "waits"}, False),
        ({"adapter": "pull", "code": "shown"}, True),
        ({"adapter": "alerts", "code": "shown"}, False),
        ({"adapter": "page", "code": "shown"}, True),
        ({"adapter": "page", "outcome": "failed", "code": "cut-off"}, None),
        ({"outcome": "abandoned", "code": "http-503"}, None),
        ({"outcome": "unknown", "code": "of a later version"}, None),
    ],
)
def test_an_attempt_disclosed_or_may_have_or_did_not(more: dict[str, Any], expected: bool | None) -> None:
    assert gone(attempt(**more)) is expected


def test_one_event_at_one_recipient_is_one_entry_with_its_times() -> None:
    seen = [
        attempt(adapter="page", code="shown", at=NOW + 50, ended_at=NOW + 60),
        attempt(),
        attempt(
            outcome=None, code=None, ended_at=None, at=NOW + 90, shares=[SHARE | {"purpose": "emergency"}]
        ),
        attempt(stakeholder="court", shares=[SHARE | {"basis": "court-order", "grants": ["o-1"]}]),
    ]
    clinic, court = disclosed(seen)
    assert (clinic.first_at, clinic.last_at, clinic.times, clinic.doubts) == (NOW + 5, NOW + 60, 2, 1)
    assert clinic.certain
    assert clinic.ways == ("page", "webhook")
    assert clinic.purposes == ("treatment",)  # what only may have happened is counted, and tells nothing more
    assert (court.bases, court.grants) == (("court-order",), ("o-1",))


def test_what_only_may_have_happened_is_an_entry_of_its_own() -> None:
    (only,) = disclosed([attempt(outcome=None, code=None, ended_at=None)])
    assert (only.certain, only.times, only.doubts, only.first_at) == (False, 0, 1, NOW)
    assert disclosed([attempt(outcome="failed", code="not-begun")]) == []


codes = st.sampled_from([*sorted(STAYED), "http-200", "timeout", "waits", "shown", "connect"])
attempts = st.builds(
    Attempt,
    st.sampled_from(["e-1", "e-2"]),
    st.sampled_from(["clinic", "court"]),
    st.sampled_from(["webhook", "page", "pull", "alerts", "sftp"]),
    st.integers(NOW, NOW + DAY),
    st.just([SHARE]),
    st.sampled_from([None, "delivered", "failed", "refused", "abandoned"]),
    codes,
    st.none() | st.integers(NOW, NOW + DAY),
)


@given(st.lists(attempts, max_size=30), st.randoms(use_true_random=False))
def test_nothing_that_may_have_left_is_left_out_and_order_does_not_matter(
    some: list[Attempt], chance: Any
) -> None:
    found = disclosed(some)
    assert sum(one.times for one in found) == sum(gone(one) is True for one in some)
    assert sum(one.doubts for one in found) == sum(gone(one) is None for one in some)
    assert len({(one.event, one.stakeholder) for one in found}) == len(found)
    shuffled = list(some)
    chance.shuffle(shuffled)
    assert disclosed(shuffled) == found


def delivery(offset: int, key: str, at: int, outcome: str | None = "delivered", **more: Any) -> list[Read]:
    parcel = {"key": key, "stakeholder": "clinic", "adapter": "webhook", "event": "e-1", "participant": "p-1"}
    parcel |= more
    none = {"intent": None, "receipt": None, "withheld": None, "acknowledgement": None}
    intent = parcel | {"outbox_partition": 0, "outbox_offset": 4, "attempt": 1, "at": at}
    intent |= {
        "consent_offset": 1,
        "governance_offset": 1,
        "shares": [SHARE | {"subscription": "s", "obligations": []}],
    }
    found = [Read("deliveries", 1, offset, "Delivery", none | {"intent": intent})]
    if outcome is not None:
        ended = parcel | {"attempt": 1, "outcome": outcome, "code": "http-200", "at": at + 9, "next_at": None}
        found.append(Read("deliveries", 1, offset + 1, "Delivery", none | {"receipt": ended}))
    return found


def decision(event: str) -> Read:
    envelope = {
        "id": event,
        "source": "urn:agency:reach",
        "type": "service-engagement",
        "occurred_at": NOW - DAY,
        "admitted_at": NOW,
        "participant": "p-1",
        "category": "service.housing",
        "labels": [],
        "discloser": "reach",
        "compartments": ["subject"],
        "consent_at_least": None,
    }
    value = {
        "id": f"d-{event}",
        "cause": "first",
        "event": envelope,
        "position": {"topic": "service-engagement", "partition": 1, "offset": 42},
        "at": NOW,
        "consent_offset": 5,
        "governance_offset": 9,
        "outcomes": [],
    }
    return Read("decisions", 1, int(event[2:]), "Decision", value)


def signed() -> Read:
    body = json.dumps({"type": "consent-granted", "consent": consent(id="c-1")}).encode()
    value = {"id": "d-1", "participant": "p-1", "sender": "s", "recorded_at": 1, "type": "consent-granted"}
    return Read("consent", 1, 3, "Directive", value | {"body": body})


HISTORY = [
    decision("e-1"),
    decision("e-2"),
    signed(),
    *delivery(1, "k-1", NOW),
    *delivery(3, "k-2", NOW + DAY, None, event="e-2"),
    *delivery(5, "k-3", NOW, participant="p-2"),
]


def test_the_store_tells_it_for_one_participant_and_one_period(store: Store) -> None:
    with store.write() as connection:
        project(connection, HISTORY)
    found = account(store, "p-1", NOW, NOW + DAY)
    assert [(one.event, one.certain, one.first_at) for one in found.disclosures] == [
        ("e-2", False, NOW + DAY),
        ("e-1", True, NOW + 9),
    ]
    assert found.events["e-1"] == ("service.housing", "reach", NOW - DAY)
    assert found.signed == {"c-1": consent()["signed_at"]}
    assert [one.event for one in account(store, "p-1", NOW + 1, NOW + DAY).disclosures] == ["e-2"]
    assert account(store, "p-3", 0, NOW + DAY).disclosures == []


def test_more_than_it_holds_is_refused_and_never_cut_short(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "ATTEMPTS_MAX", 1)
    with store.write() as connection:
        project(connection, HISTORY)
    with pytest.raises(TooMuch, match="--from"):
        account(store, "p-1", NOW, NOW + DAY)


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A store with that history, and the command over it."""
    made = desk(tmp_path)
    clinic = {
        "id": "clinic",
        "name": "=Tideline Clinic",
        "role": "service-provider",
        "agreement": {"from": "2025-01-01T00:00:00Z"},
        "address": "1 Tide Street, Port Alder",
    }
    made.registration.register([described(clinic)], "test")
    with made.store.write() as connection:
        project(connection, HISTORY)
    parts = SimpleNamespace(store=made.store, vault=made.vault, appender=made.log, register=made.register)
    monkeypatch.setattr(report.bootstrap, "bootstrap", lambda _: contextlib.nullcontext(parts))
    monkeypatch.setattr(time, "time_ns", lambda: (NOW + 2 * DAY) * 1_000_000)
    yield made
    made.store.close()


def ran(*arguments: str) -> Any:
    found = CliRunner().invoke(report.app, ["disclosures", *arguments])
    assert found.exit_code == 0, found.output
    return found


def test_as_json_it_has_everything_and_that_it_was_asked_is_recorded(at: Desk) -> None:
    told = json.loads(ran("p-1", "--json").stdout)
    assert [one["event"] for one in told["disclosures"]] == ["e-2", "e-1"]
    certain = told["disclosures"][1]
    assert (certain["recipient"], certain["times"], certain["in_doubt"]) == ("=Tideline Clinic", 1, 0)
    assert certain["what"] == tongue("en", "UTC").term("category", "service.housing")
    assert (certain["rests_on"], certain["signed"]) == (["c-1/g1"], [consent()["signed_at"]])
    (noted,) = at.log.values("access")
    assert (noted["kind"], noted["participant"], noted["principal"]) == (
        "disclosures-reported",
        "p-1",
        "operator",
    )


@pytest.mark.parametrize("form", ["json", "csv", "pdf", "table"])
def test_each_form_has_each_thing_that_the_law_asks_for(
    at: Desk, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """45 CFR 164.528(b)(2): date, who received it and their address, what, for what. 42 CFR 2.24: the names
    of who received it, the dates, what. RCW 10.97.050(7): to whom, when, about whom, what.
    """
    monkeypatch.setenv("COLUMNS", "250")
    told = ran("p-1", "--format", form)
    text = told.stdout
    if form == "pdf":
        text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(told.stdout_bytes)).pages)
    text = " ".join(text.split())
    words, people = tongue("en", "UTC"), form in ("pdf", "table")
    asked = {
        "when": words.exact(NOW + 9) if people else instant.format(NOW + 9),
        "to whom": "Tideline Clinic",
        "at": "1 Tide Street",
        "what": words.term("category", "service.housing"),
        "which parts": words.term("compartment", SHARE["compartments"][0]),
        "for what": words.term("purpose", SHARE["purpose"]),
        "by whose leave": words.term("basis", SHARE["basis"]),
        "in doubt": "In doubt" if people else ("in_doubt" if form == "json" else '"false"'),
    }
    missing = [name for name, said in asked.items() if said not in text]
    assert not missing, text
    assert form == "table" or "p-1" in text, "about whom; who prints a table has just said it"


def test_of_somebody_who_was_merged_it_has_what_left_under_any_of_their_ids(at: Desk) -> None:
    row = {"absorbed": "p-1", "survivor": "p-9", "links": [], "at": NOW, "place": 1}
    with at.store.write() as connection:
        connection.execute(merges.insert().values(row))
    for one in ("p-1", "p-9"):
        found = account(at.store, one, 0, NOW + DAY)
        assert (found.participant, [each.event for each in found.disclosures]) == (one, ["e-2", "e-1"])
        assert found.signed
    assert account(at.store, "p-8", 0, NOW + DAY).disclosures == []


def test_as_csv_each_entry_is_a_line_and_no_cell_a_formula(at: Desk) -> None:
    rows = list(csv.DictReader(io.StringIO(ran("p-1", "--format", "csv").stdout)))
    assert [row["certain"] for row in rows] == ["false", "true"]
    assert rows[0]["recipient"] == "'=Tideline Clinic"
    empty = ran("p-1", "--from", "2020-01-01", "--to", "2020-01-02", "--format", "csv").stdout
    assert len(empty.splitlines()) == 1
    assert empty.startswith('"first","last"')


@pytest.mark.parametrize("language", ["en", "es"])
def test_as_pdf_it_can_be_read_and_explains_itself(at: Desk, language: str) -> None:
    paper = PdfReader(io.BytesIO(ran("p-1", "--format", "pdf", "--language", language).stdout_bytes))
    text = " ".join(" ".join(page.extract_text() for page in paper.pages).split())
    words = tongue(language, "UTC")
    for said in ("Who learned what about you", "In doubt: it may have been disclosed", "By whose leave"):
        assert words.say(said) in text
    assert words.term("purpose", "treatment") in text
    assert paper.metadata is not None
    assert paper.metadata.title == words.say("Who learned what about you")


def test_on_paper_many_pages_are_numbered_and_strange_letters_are_refused(at: Desk) -> None:
    many = [read for n in range(60) for read in delivery(100 + 2 * n, f"m-{n}", NOW + n, event=f"e-{n + 10}")]
    with at.store.write() as connection:
        project(connection, many)
    found = account(at.store, "p-1", NOW, NOW + DAY)
    words = tongue("en", "UTC")
    pages = PdfReader(io.BytesIO(handout(found, at.register(), words, NOW))).pages
    assert len(pages) > 2
    assert f"page {len(pages)}" in pages[-1].extract_text()
    strange = at.register()
    strange.stakeholders["clinic"]["name"] = "诊所"
    with pytest.raises(NoLetter, match="csv"):
        handout(found, strange, words, NOW)


def test_as_a_table_it_is_told_in_words_and_nothing_is_said_to_be_nothing(at: Desk) -> None:
    assert "In doubt" in " ".join(ran("p-1").stdout.split())
    assert "Nothing was disclosed" in ran("p-1", "--to", "2020-01-02").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["p-9"], "nobody is known"),
        (["p-1", "--from", "yesterday"], "2026-01-31"),
        (["p-1", "--from", "2026-02-01", "--to", "2026-01-01"], "after --to"),
        (["p-1", "--language", "fr"], "en, es"),
        (["p-1", "--format", "docx"], "docx"),
    ],
)
def test_what_is_wrong_is_told(at: Desk, arguments: list[str], says: str) -> None:
    found = CliRunner().invoke(report.app, ["disclosures", *arguments])
    assert found.exit_code != 0
    assert says in " ".join(f"{found.output} {found.exception}".replace("│", " ").split())
    assert at.log.values("access") == []


def test_days_are_those_of_the_programs_place() -> None:
    zone = report.ZoneInfo("America/Los_Angeles")
    first, last = report.period("2026-03-08", "2026-03-08", zone, NOW)
    assert last - first + 1 == 23 * 3_600_000  # that day has no hour from two to three
    leap = 1_709_200_000_000  # the 29th of February 2024
    first, last = report.period(None, None, zone, leap)
    assert first < leap <= last
    with pytest.raises(typer.BadParameter):
        report.period("2026-02-02", "2026-02-01", zone, NOW)
