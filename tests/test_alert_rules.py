"""Rules of alerts: a program can replace them, is told what is wrong; they are blind to what is hidden."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.alert_rules import default, dues, flat, load, read, time_of
from schemas import instant
from schemas.calendar import days_before, last_at, within
from schemas.errors import Invalid

ANGELES = ZoneInfo("America/Los_Angeles")
NOW = instant.parse("2026-11-24T08:00:00Z")


def view(type_: str, category: str | None = None, **parts: Any) -> dict[str, Any]:
    """What a reader sees of an event."""
    found: dict[str, Any] = {"type": type_, "data": parts}
    return found if category is None else found | {"category": category}


def first(seen: dict[str, Any]) -> str | None:
    rule = default().first(seen, flat(seen))
    return None if rule is None else rule.name


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (view("contact", "contact.custody-booking"), "booked-into-custody"),
        (view("contact", occurrence={"booked_at": "2026-11-24T07:00:00Z"}), "booked-into-custody"),
        (view("contact", occurrence={"release_expected_at": "2026-11-25T07:00:00Z"}), "release-expected"),
        (
            view(
                "contact",
                occurrence={"booked_at": "2026-11-24T07:00:00Z", "released_at": "2026-11-24T08:00:00Z"},
            ),
            "released",
        ),
        (view("contact", "contact.custody-release"), "released"),
        (view("contact", "contact.law-enforcement"), "police-contact"),
        (view("contact", "contact.crisis"), "crisis"),
        (view("contact", clinical={"crisis_level": "high"}), "crisis"),
        (view("contact", clinical={"crisis_level": "high", "overdose_reversed": True}), "overdose"),
        (view("contact", "contact.overdose"), "overdose"),
        (view("contact", clinical={"overdose_reversed": False}), None),
        (view("contact", "contact.outreach"), None),
        (view("contact", "contact.crisis-line"), None),
        (view("court-status", occurrence={"hearing": {"status": "set"}}), "hearing-set"),
        (view("court-status", occurrence={"hearing": {"status": "moved"}}), "hearing-moved"),
        (view("court-status", occurrence={"hearing": {"status": "cancelled"}}), "hearing-cancelled"),
        (view("court-status", occurrence={"hearing": {"status": "held"}}), None),
        (view("court-status", legal={"warrant": {"status": "issued"}}), "warrant-issued"),
        (view("court-status", legal={"warrant": {"status": "quashed"}}), "warrant-quashed"),
        (view("referral", activity={"door": "arrest diversion"}), "arrest-diversion-waiting"),
        (view("referral", activity={"door": "community"}), "referral-waiting"),
        (view("referral", activity={"door": "community", "handed_off_at": "2026-11-24T07:00:00Z"}), None),
        (view("service-engagement", activity={"step": "started"}), None),
    ],
)
def test_an_event_makes_the_alert_of_the_first_rule_it_fits(seen: dict[str, Any], rule: str | None) -> None:
    assert first(seen) == rule


def test_a_rule_is_blind_to_what_its_reader_may_not_see() -> None:
    """The same booking, with its category and its times withheld, is a contact like any other."""
    assert first(view("contact", subject={"name": "Rosa"})) is None


def test_a_hearing_reminds_by_the_clocks_there_also_where_they_change() -> None:
    """Nine in the morning is that also the day before, 23 or 25 hours earlier; two hours are two."""
    rule = default().named("hearing-ahead")
    assert rule is not None
    assert rule.reminders is not None
    for hearing, days in {
        "2026-03-09T09:00:00-07:00": ["2026-03-06T09:00:00-08:00", "2026-03-08T09:00:00-07:00"],
        "2026-11-02T09:00:00-08:00": ["2026-10-30T09:00:00-07:00", "2026-11-01T09:00:00-08:00"],
        "2026-11-01T09:00:00-08:00": ["2026-10-29T09:00:00-07:00", "2026-10-31T09:00:00-07:00"],
        "2027-03-15T09:00:00-07:00": ["2027-03-12T09:00:00-08:00", "2027-03-14T09:00:00-07:00"],
        "2027-03-14T09:00:00-07:00": ["2027-03-11T09:00:00-08:00", "2027-03-13T09:00:00-08:00"],
        "2027-11-08T09:00:00-08:00": ["2027-11-05T09:00:00-07:00", "2027-11-07T09:00:00-08:00"],
    }.items():
        fields = flat(view("court-status", occurrence={"hearing": {"at": hearing}}))
        at = instant.parse(hearing)
        found, already = dues(rule.reminders, fields, at - 30 * 86_400_000, ANGELES)
        assert already is None
        assert [due.at for due in found] == [*map(instant.parse, days), at - 7_200_000]
        assert [due.mark.urgency for due in found] == ["information", "soon", "urgent"]


def test_times_that_a_change_of_clocks_skips_or_repeats() -> None:
    skipped = instant.parse("2026-03-09T02:30:00-07:00")  # a day before, the clocks go from 2:00 to 3:00
    assert days_before(skipped, 1, ANGELES) == instant.parse("2026-03-08T02:30:00-08:00")
    repeated = instant.parse("2026-11-02T01:30:00-08:00")  # a day before, half past one comes twice
    assert days_before(repeated, 1, ANGELES) == instant.parse("2026-11-01T01:30:00-07:00")
    second = instant.parse("2027-11-07T01:30:00-08:00")
    assert days_before(second, 1, ANGELES) == instant.parse("2027-11-06T01:30:00-07:00")


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-03-08T08:00:00-07:00", "2026-03-08T07:00:00-07:00"),
        ("2026-03-08T06:59:00-07:00", "2026-03-07T07:00:00-08:00"),
        ("2026-11-01T07:00:00-08:00", "2026-11-01T07:00:00-08:00"),
        ("2026-11-01T06:59:00-08:00", "2026-10-31T07:00:00-07:00"),
        ("2027-03-14T07:30:00-07:00", "2027-03-14T07:00:00-07:00"),
        ("2027-11-07T06:00:00-08:00", "2027-11-06T07:00:00-07:00"),
    ],
)
def test_a_digest_comes_at_its_time_of_day(now: str, last: str) -> None:
    assert last_at(instant.parse(now), 7 * 60, ANGELES) == instant.parse(last)


def test_quiet_hours_go_past_midnight() -> None:
    night = (22 * 60, 7 * 60)
    for now, quiet in {
        "2026-11-01T01:30:00-07:00": True,
        "2026-11-01T01:30:00-08:00": True,
        "2026-11-01T06:59:00-08:00": True,
        "2026-11-01T07:00:00-08:00": False,
        "2026-11-01T22:00:00-08:00": True,
    }.items():
        assert within(instant.parse(now), *night, ANGELES) is quiet
    assert not within(NOW, 60, 60, ANGELES)


def test_what_is_past_is_not_reminded_of_but_tells_how_urgent_it_is() -> None:
    rule = default().named("hearing-ahead")
    assert rule is not None
    assert rule.reminders is not None

    def ahead(hours: float) -> tuple[list[str], str | None]:
        at = instant.format(NOW + int(hours * 3_600_000))
        found, already = dues(rule.reminders, {"hearing.at": at}, NOW, ANGELES)
        return [due.mark.name for due in found], already

    assert ahead(100) == (["3d", "1d", "120m"], None)
    assert ahead(71) == (["1d", "120m"], "information")
    assert ahead(20) == (["120m"], "soon")
    assert ahead(1) == ([], "urgent")
    assert ahead(-1) == ([], None)


def test_a_field_that_is_no_time_reminds_of_nothing() -> None:
    assert time_of({"hearing.at": "next week"}, "hearing.at") is None
    assert time_of({}, None) is None


ROW = '[[rule]]\nname = "crisis"\nurgency = "urgent"\nwhen = [{ type = "contact" }]\n'


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("rule = 1", "1 to 200 tables"),
        ("[[rule", "not TOML"),
        ("", "1 to 200 tables"),
        (ROW + "[other]\nx = 1", "and nothing else"),
        (ROW.replace("urgent", "loud"), "rule 1 (`crisis`): `urgency`"),
        (ROW + "colour = 3", "there is no key `colour`"),
        (ROW + ROW, "the same name"),
        (ROW.replace("crisis", "my-own"), "needs `says` and `next`"),
        (ROW.replace("crisis", "Crisis!"), "`name`"),
        (ROW + 'says = { en = "x" }\nnext = { en = "x" }', "in en and in es"),
        (ROW + 'says = { en = "%(name)s", es = "x" }', "%(who)s"),
        (ROW.split("when", maxsplit=1)[0], "say `when` it applies"),
        (ROW + "at_once = false", "needs `reminders`"),
        (ROW + "days = [3]", "`days` belongs to"),
        (ROW + '[rule.reminders]\nfield = "x"\nat = [{ urgency = "soon" }]', "either `days` or `minutes`"),
        (ROW.replace("contact", "contakt"), "when.0.type"),
        ('[[rule]]\nname = "crisis"\non = "consent"\nurgency = "soon"', "a rule on consent is one of"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_words(source: str, says: str) -> None:
    with pytest.raises(Invalid) as found:
        read(source)
    assert any(says in one.detail for one in found.value.problems), found.value.problems


def test_a_program_replaces_the_file_by_its_own(tmp_path: Path) -> None:
    own = tmp_path / "rules.toml"
    own.write_text(ROW.replace('"urgent"', '"information"'))
    rules = load(own)
    seen = view("contact", "contact.outreach")
    found = rules.first(seen, flat(seen))
    assert found is not None
    assert (found.name, found.urgency) == ("crisis", "information")
    assert load(None) is default()
    own.write_bytes(b"\xff")
    with pytest.raises(Invalid, match="not UTF-8"):
        load(own)


def test_what_may_be_urgent_is_told_by_type_and_category() -> None:
    events = {
        ("contact", "contact.custody-booking"): True,
        ("contact", "contact.crisis"): True,
        ("court-status", "court.warrant"): True,
        ("referral", "referral.arrest-diversion"): True,
        ("contact", "contact.outreach"): False,
        ("service-engagement", "service.housing"): False,
    }
    found = {one: default().urgent({"type": one[0], "category": one[1]}) for one in events}
    assert found == events
