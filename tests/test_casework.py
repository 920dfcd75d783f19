"""Who sees which alert and what they do to it: one wins, nobody's alert is nobody's, the log decides."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from connectors.alert_rules import default
from hub import acts, cards, news, today
from hub.casetables import caseloads, sightings
from hub.crosswalk import Crosswalk
from hub.handling import RESERVED_MS_MAX, SNOOZE_MS_MAX, UNDO_MS_MAX, Act
from hub.language import tongue
from hub.people import agreed, handle, resolve, search, timeline
from hub.preferences import Preferences
from hub.shown import ShownAlerts
from hub.store import Store, upsert
from hub.tables import PROJECTED, alerts
from hub.today import Alert
from schemas.errors import Invalid, Unavailable
from tests import stores
from tests.office import HOUR, NOW, ORG, Office, Who


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        yield Office(store)


@pytest.fixture
def either(store: Store) -> Office:
    """On both kinds of store, where what is asked of it is not simple."""
    return Office(store)


def test_own_people_first_nobodys_for_everybody_and_others_not_at_all(either: Office) -> None:
    either.caseloads.assign("person:lead", ORG, "p-1", "ana")
    either.caseloads.assign("person:lead", ORG, "p-2", "ben")
    either.alert("of-nobody", "p-3")
    either.now += 1
    either.alert("of-ana", "p-1")
    either.alert("of-ben", "p-2")
    assert either.sees("ana") == ["of-ana", "of-nobody"]
    assert either.sees("ben") == ["of-ben", "of-nobody"]
    assert either.sees("cleo") == ["of-nobody"]
    assert set(either.sees(None)) == {"of-ana", "of-ben", "of-nobody"}
    assert [one.own for one in either.picture("ana").waiting] == [True, False]
    either.caseloads.hand_over("person:lead", ORG, "p-1", "ana", "cleo")
    assert either.sees("ana") == ["of-nobody"]
    assert either.sees("cleo") == ["of-ana", "of-nobody"]


def test_cover_lasts_as_long_as_it_was_arranged(office: Office) -> None:
    office.caseloads.assign("person:lead", ORG, "p-1", "ana")
    office.alert("a")
    office.caseloads.cover("person:ana", ORG, "ana", "ben", NOW + HOUR, NOW + 3 * HOUR)
    assert office.sees("ben") == []
    office.now = NOW + HOUR
    assert office.sees("ben") == ["a"]
    assert office.sees("ana") == ["a"], "who is away may still look"
    office.now = NOW + 3 * HOUR
    assert office.sees("ben") == []
    office.caseloads.cover("person:ana", ORG, "ana", "ben", NOW, NOW + 9 * HOUR)
    assert office.sees("ben") == ["a"]
    office.caseloads.cover("person:ana", ORG, "ana", "ben", NOW, NOW)
    assert office.sees("ben") == [], "ended early"
    for wrong in (("ana", "ana", 0, 1), ("ana", "zoe", 0, 1), ("ana", "ben", 0, 10**12)):
        with pytest.raises(Invalid):
            office.caseloads.cover("person:ana", ORG, *wrong)


def test_a_teams_alert_is_the_teams_and_what_escalates_is_the_leaders(either: Office) -> None:
    either.caseloads.assign("person:lead", ORG, "p-1", "ana")
    either.caseloads.join("person:admin", ORG, "night", "ana")
    either.caseloads.join("person:admin", ORG, "night", "ben", lead=True)
    either.alert("own")
    either.alert("teams", audience="team")
    assert set(either.sees("ana")) == {"own", "teams"}
    assert either.sees("ben") == ["teams"]
    assert either.sees("cleo") == []
    with either.store.write() as connection:
        connection.execute(alerts.update().where(alerts.c.id == "own").values(escalated_at=NOW))
    assert set(either.sees("ben")) == {"own", "teams"}
    assert either.sees("cleo") == []
    either.caseloads.leave("person:admin", ORG, "night", "ben")
    assert either.sees("cleo") == ["own"], "where nobody leads, everybody sees what nobody took"
    assert either.caseloads.leads(ORG, "cleo")


def test_one_of_two_who_acknowledge_at_once_has_it_and_the_other_is_told_who(either: Office) -> None:
    either.alert("a")
    results: dict[str, Any] = {}
    gate = threading.Barrier(2)

    def acknowledge(name: str) -> None:
        desk = either.another()
        gate.wait(10)
        results[name] = desk.act(Who(name), "a", Act("acknowledge", 0))

    threads = [threading.Thread(target=acknowledge, args=(name,)) for name in ("ana", "ben")]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    outcomes = {name: result.outcome for name, result in results.items()}
    assert sorted(outcomes.values()) == ["done", "lost"]
    winner = next(name for name, outcome in outcomes.items() if outcome == "done")
    loser = Who("ben" if winner == "ana" else "ana")
    assert either.one("a").acknowledged_by == winner
    told = either.handling.act(loser, "a", Act("acknowledge", 0))
    assert (told.outcome, told.by) == ("lost", winner.title())
    assert [one["by"] for one in either.log.values("work")] == [f"person:{winner}"], (
        "only who has it is written"
    )
    (alert,) = either.picture(None).taken
    assert alert.acknowledged_by == winner.title()
    assert either.sees(winner) == []


def test_what_was_queued_and_is_sent_again_is_done_once(office: Office) -> None:
    office.alert("a")
    first = office.handling.act(Who("ana"), "a", Act("acknowledge", 0))
    again = office.handling.act(Who("ana"), "a", Act("acknowledge", 0))
    assert first == again
    assert first.outcome == "done"
    assert first.undo_until == NOW + UNDO_MS_MAX
    assert len(office.log.values("work")) == 1


def test_an_act_can_be_undone_by_who_did_it_for_a_while(office: Office) -> None:
    office.alert("a")
    version = office.handling.act(Who("ana"), "a", Act("acknowledge", 0)).version
    assert office.handling.act(Who("ben"), "a", Act("undo", version)).outcome == "refused"
    undone = office.handling.act(Who("ana"), "a", Act("undo", version))
    assert (undone.outcome, undone.version) == ("done", 2)
    assert office.handling.act(Who("ana"), "a", Act("undo", version)) == undone, "replayed"
    assert office.sees("ben") == ["a"]
    office.handling.act(Who("ana"), "a", Act("acknowledge", 2))
    office.now += UNDO_MS_MAX + 1
    assert office.handling.act(Who("ana"), "a", Act("undo", 3)).outcome == "refused"


def test_what_is_put_off_comes_back_and_the_clock_is_told(office: Office) -> None:
    office.alert("a")
    until = NOW + HOUR
    assert office.handling.act(Who("ana"), "a", Act("snooze", 0, until=until)).outcome == "done"
    assert office.alarms.told == [("p-1", "alert", "a", until)]
    assert office.sees("ana") == []
    assert [one.snoozed_until for one in office.picture("ana").snoozed] == [until]
    office.now = until
    assert office.sees("ana") == ["a"]
    for wrong in (None, until, until + SNOOZE_MS_MAX + 1):
        assert office.handling.act(Who("ana"), "a", Act("snooze", 1, until=wrong)).outcome == "refused"


def test_what_is_handed_over_is_theirs_and_nobody_elses(either: Office) -> None:
    either.caseloads.assign("person:lead", ORG, "p-1", "ana")
    either.alert("a")
    assert either.handling.act(Who("ana"), "a", Act("hand-over", 0, to="zoe")).outcome == "refused"
    assert either.handling.act(Who("ana"), "a", Act("hand-over", 0, to="ben")).outcome == "done"
    assert either.sees("ana") == []
    (alert,) = either.picture("ben").waiting
    assert (alert.handed_to, alert.own) == ("Ben", True)
    either.caseloads.cover("person:ben", ORG, "ben", "cleo", NOW, NOW + HOUR)
    assert either.sees("cleo") == ["a"], "who covers for ben has what was handed to him"
    assert either.handling.act(Who("ben"), "a", Act("acknowledge", 1)).outcome == "done"


def test_another_organisations_alert_is_not_there(office: Office) -> None:
    office.alert("a")
    assert office.handling.act(Who("zoe", "elsewhere"), "a", Act("acknowledge", 0)).outcome == "gone"
    ShownAlerts(office.store).withdraw(["a"])
    assert office.handling.act(Who("ana"), "a", Act("acknowledge", 0)).outcome == "gone"
    assert office.log.values("work") == []


def test_where_the_log_takes_nothing_nothing_is_done_and_anybody_may_try_again(office: Office) -> None:
    office.alert("a")
    office.log.broken = True
    with pytest.raises(Unavailable):
        office.handling.act(Who("ana"), "a", Act("acknowledge", 0))
    assert office.sees("ben") == ["a"]
    office.log.broken = False
    assert office.handling.act(Who("ben"), "a", Act("acknowledge", 0)).outcome == "done"


def test_who_died_before_writing_keeps_nobody_waiting_for_long(office: Office) -> None:
    office.alert("a")
    with office.store.write() as connection:
        connection.execute(alerts.update().values(reserved_at=NOW))
    assert office.handling.act(Who("ben"), "a", Act("acknowledge", 0)).outcome == "lost"
    office.now += RESERVED_MS_MAX + 1
    assert office.handling.act(Who("ben"), "a", Act("acknowledge", 0)).outcome == "done"


def test_of_two_records_of_one_version_the_first_counts_in_any_order(either: Office) -> None:
    """A reservation ran out, and its holder's record was in the log all the same."""
    either.alert("a")
    either.log.lose_answers = True
    with pytest.raises(Unavailable):
        either.handling.act(Who("ana"), "a", Act("acknowledge", 0))
    either.log.lose_answers = False
    assert either.handling.act(Who("ben"), "a", Act("acknowledge", 0)).outcome == "done"
    assert either.one("a").acknowledged_by == "ben", "as far as anybody knows"
    either.replay()
    assert either.one("a").acknowledged_by == "ana", "what stands first in the log"
    either.replay()
    assert either.one("a").acknowledged_by == "ana"
    assert either.handling.act(Who("ben"), "a", Act("acknowledge", 0)).by == "Ana"


def test_who_saw_what_is_written_once(office: Office) -> None:
    office.alert("a")
    office.alert("b")
    shown = office.picture("ana").waiting
    office.handling.saw(Who("ana"), shown)
    office.now += HOUR
    office.handling.saw(Who("ana"), shown)
    office.handling.saw(Who("ben"), shown[:1])
    assert [one["kind"] for one in office.log.values("work")] == [acts.SEEN] * 2
    assert office.handling.seen_by(shown[0].id) == [("Ana", NOW), ("Ben", NOW + HOUR)]


def test_all_of_it_is_in_the_log_and_can_be_built_again(either: Office) -> None:
    either.caseloads.assign("person:lead", ORG, "p-1", "ana")
    either.now += 1
    either.caseloads.unassign("person:lead", ORG, "p-1", "ana")
    either.now += 1
    either.caseloads.assign("person:lead", ORG, "p-1", "ana")
    either.caseloads.join("person:admin", ORG, "night", "ana", lead=True)
    either.caseloads.cover("person:ana", ORG, "ana", "ben", NOW, NOW + HOUR)
    either.alert("a")
    either.handling.saw(Who("ana"), either.picture("ana").waiting)
    either.handling.act(Who("ana"), "a", Act("acknowledge", 0))

    def rows() -> dict[str, Sequence[Any]]:
        with either.store.read() as connection:
            return {
                table.name: sorted(map(tuple, connection.execute(sa.select(table))))
                for table in PROJECTED
                if table.name in ("caseloads", "teams", "covers", "sightings")
            }

    before = rows()
    assert all(before.values())
    either.replay()
    assert rows() == before, "applied twice"
    with either.store.write() as connection:
        for table in PROJECTED:
            connection.execute(table.delete())
    either.replay()
    assert rows() == before, "built again"
    assert either.one("a").acknowledged_by == "ana"
    assert b"Person" not in either.log.text()


def test_whose_page_looks_different_is_among_those_whom_it_concerns(either: Office) -> None:
    """Whatever happens to alerts, a page that is not drawn again would have looked the same."""
    accounts, dice = ("ana", "ben", "cleo", None), random.Random(7)
    for account, participant in (("ana", "p-1"), ("ben", "p-2"), ("cleo", "p-3")):
        either.caseloads.assign("person:lead", ORG, participant, account)
    either.caseloads.join("person:lead", ORG, "north", "ana", lead=True)
    either.caseloads.join("person:lead", ORG, "north", "ben")
    either.caseloads.cover("person:cleo", ORG, "cleo", "ben", NOW, NOW + 90 * HOUR)
    acts_of = ("acknowledge", "snooze", "hand-over", "undo")
    names: list[str] = []
    spared = 0
    for number in range(60):
        before = {account: looks(either.picture(account)) for account in accounts}
        after = int(either.picture(None).cursor)
        either.now += 1_000
        what = dice.choice(("shown", "shown", "kept", "withdraw", *acts_of))
        if what in ("shown", "kept") or not names:
            more = {"audience": dice.choice(("caseload", "caseload", "caseload", "team"))}
            whose, rule = f"p-{dice.choice((1, 2, 3, 3, 4))}", "" if what == "kept" else "crisis"
            names.append(either.alert(f"a-{number}", whose, rule, **more))
        elif what == "withdraw":
            ShownAlerts(either.store).withdraw([dice.choice(names)])
        else:
            name, people = dice.choice(names), ("ana", "ben", "cleo")
            act = Act(what, either.one(name).version, either.now + HOUR, dice.choice(people))
            either.handling.act(Who(dice.choice(people)), name, act)
        found = news.since(either.store, ORG, after, either.now)
        for account in accounts:
            if not found.concerns(account, before[account][0]):
                spared += 1
                assert looks(either.picture(account)) == before[account], what
    assert spared > 40, "hardly a page was spared"


def looks(picture: today.Picture) -> tuple[frozenset[str], str]:
    some = (*picture.waiting, *picture.taken, *picture.snoozed)
    return frozenset(one.id for one in some), cards.mark(picture).partition(".")[2]


def test_a_burst_is_bounded_counted_and_grouped(either: Office) -> None:
    with either.store.write() as connection:
        rows = [
            {
                "id": f"b-{n}",
                "changed": n + 1,
                "stakeholder": ORG,
                "participant": f"p-{n % 2_500}" if n < 4_900 else "p-same",
                "event": "",
                "rule": "crisis",
                "urgency": "urgent" if n % 2 else "soon",
                "sealed": b"",
                "facts": {"n": n},
                "at": NOW + n,
            }
            for n in range(5_000)
        ]
        upsert(connection, alerts, rows)
    seen = either.picture("ana")
    assert len(seen.waiting) == today.ALERTS_MAX
    assert seen.counts == {"urgent": 2_500, "soon": 2_500}
    assert sum(one.also + 1 for one in seen.waiting) + seen.more == 5_000, "none is lost"
    grouped = [one for one in seen.waiting if one.participant == "p-same"]
    assert [one.also for one in grouped] in ([], [99])


def test_many_of_one_person_and_rule_are_one_line(office: Office) -> None:
    for n in range(5):
        office.now = NOW + n
        office.alert(f"a-{n}")
    (line,) = office.picture("ana").waiting
    assert (line.id, line.also) == ("a-4", 4)
    office.handling.act(Who("ana"), "a-4", Act("acknowledge", 0))
    assert office.picture("ana").waiting[0].also == 3, "the next one stands there now"


def test_a_person_is_found_and_told_about_only_by_who_may(either: Office) -> None:
    either.caseloads.assign("person:lead", ORG, "p-1", "ana")
    either.caseloads.assign("person:lead", ORG, "p-2", "ben")
    either.alert("a", "p-1", occurred_at=NOW - HOUR)
    either.alert("quiet", "p-1", rule="", urgency="information", occurred_at=NOW)
    either.alert("later", "p-1", rule="hearing-ahead", due_at=NOW + HOUR)
    crosswalk = Crosswalk(either.store, either.vault)

    def found(account: str, text: str = "") -> list[Any]:
        return search(either.store, either.vault, crosswalk, ORG, account, NOW, text)

    (one,) = found("ana")
    assert (one.participant, one.name, one.waiting) == ("p-1", "Person p-1", 1)
    assert found("ana", "PERSON P-1") == [one]
    assert found("ana", "nobody") == []
    name = handle(either.vault, ORG, "p-1")
    assert one.handle == name != "p-1"
    assert resolve(either.store, either.vault, ORG, "ana", NOW, name) == "p-1"
    assert resolve(either.store, either.vault, ORG, "ben", NOW, name) is None
    assert resolve(either.store, either.vault, "elsewhere", "zoe", NOW, name) is None
    lines = timeline(either.store, either.vault, ORG, "p-1")
    assert [line.id for line in lines] == ["quiet", "a"], "newest first, without reminders"
    assert [line.said for line in agreed(lines)] == [{"en": "x"}], "each line once"


def test_what_is_to_come_is_seen_when_the_clock_has_rung(office: Office) -> None:
    office.alert("later", rule="hearing-ahead", due_at=NOW + HOUR)
    office.now = NOW + 2 * HOUR
    assert office.sees("ana") == []
    with office.store.write() as connection:
        connection.execute(alerts.update().values(rung_at=NOW + HOUR))
    assert office.sees("ana") == ["later"]


def test_what_is_new_since_they_looked_is_marked(office: Office) -> None:
    preferences = Preferences(office.store, office.vault)
    office.alert("old")
    preferences.looked("ana", NOW)
    office.now = NOW + 1
    office.alert("new", "p-2")
    assert {one.id: one.fresh for one in office.picture("ana").waiting} == {"old": False, "new": True}
    assert preferences.of("ana").looked_at == NOW


def test_preferences_are_checked_and_addresses_sealed(office: Office) -> None:
    preferences = Preferences(office.store, office.vault)
    wanted = preferences.set("ana", quiet_from=1_320, quiet_until=420, mail="ana@reach.example", aloud=True)
    assert preferences.of("ana") == wanted
    preferences.looked("ana", NOW)
    assert preferences.of("ana").mail == "ana@reach.example"
    for wrong in (
        {"quiet_from": 1_440},
        {"quiet_from": None},
        {"digest_at": -1},
        {"digest_at": True},
        {"language": "fr"},
        {"mail": "ana"},
        {"mail": "ana@reach.example\nBcc: all@reach.example"},
        {"mail": "ana@localhost"},
    ):
        with pytest.raises(Invalid):
            preferences.set("ana", **wrong)
    assert preferences.of("ana").quiet_from == 1_320


def test_tables_hold_what_the_acts_say(office: Office) -> None:
    office.caseloads.assign("person:lead", ORG, "p-1", "ana")
    with pytest.raises(Invalid):
        office.caseloads.assign("person:lead", ORG, "p-1", "zoe")
    with office.store.read() as connection:
        (row,) = connection.execute(sa.select(caseloads)).all()
        assert connection.execute(sa.select(sa.func.count()).select_from(sightings)).scalar() == 0
    assert (row.participant, row.account, row.by, row.until) == ("p-1", "ana", "person:lead", None)


PAST = 5_000


def steps(store: Store, ask: Callable[[], object]) -> int:
    """How much SQLite did for an answer, in hundreds of its virtual machine's instructions."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    def begin(connection: Any, *_: Any) -> None:
        connection.connection.driver_connection.set_progress_handler(count, 100)

    sa.event.listen(store.engine, "before_cursor_execute", begin)
    try:
        ask()
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", begin)
    return counted


def test_what_is_over_makes_no_page_of_casework_slower(office: Office) -> None:
    """However many alerts there ever were: taken by somebody, taken back, put off until what is past."""
    office.caseloads.assign("person:lead", ORG, "p-1", "ana")
    for number in range(40):
        office.alert(f"a-{number}", f"p-{number % 8}")
    crosswalk = Crosswalk(office.store, office.vault)
    name = handle(office.vault, ORG, "p-1")
    questions: dict[str, Callable[[], object]] = {
        "a page": lambda: office.picture("ana"),
        "a program's stream": lambda: office.picture(None),
        "people": lambda: search(office.store, office.vault, crosswalk, ORG, "ana", office.now),
        "a person": lambda: timeline(office.store, office.vault, ORG, "p-1"),
        "whose page it is": lambda: resolve(office.store, office.vault, ORG, "ana", office.now, name),
        "what is decided again": lambda: ShownAlerts(office.store).shown(),
    }
    before = {what: steps(office.store, ask) for what, ask in questions.items()}
    row = dict(office.one("a-1")._mapping)

    def add(changed: int, *kinds: dict[str, Any]) -> None:
        rows = [
            row | kinds[n % len(kinds)] | {"id": f"old-{n}", "changed": n, "participant": f"q-{n}"}
            for n in range(changed, changed + PAST)
        ]
        with office.store.write() as connection:
            connection.execute(alerts.insert(), rows)

    taken, put_off = {"acknowledged_at": 1, "withdrawn_at": 2}, {"snoozed_until": 1, "withdrawn_at": 2}
    add(1_000, taken, put_off, {"withdrawn_at": 1})
    after = {what: steps(office.store, ask) for what, ask in questions.items()}
    assert {what: (before[what], after[what]) for what in after if after[what] > before[what] + 10} == {}
    add(10_000, {"rule": ""})  # lines of somebody's timeline, which stand
    assert steps(office.store, questions["a page"]) <= before["a page"] + 10
    assert steps(office.store, questions["a program's stream"]) <= before["a program's stream"] + 10


ALERT = Alert(
    id="d-1",
    participant="p-1",
    rule="booked-into-custody",
    urgency="urgent",
    at=NOW,
    view={"type": "contact", "data": {"subject": {"name": "Rosa Maldonado"}}},
    acknowledged_at=None,
    acknowledged_by=None,
)
OTHERWISE: dict[str, Any] = {
    "view": {"type": "contact", "data": {}},
    "acknowledged_by": "Ana Ruiz",
    "handed_to": "Ben Ortiz",
    **dict.fromkeys(("id", "participant", "rule", "urgency"), "else"),
    **dict.fromkeys(("at", "acknowledged_at", "due_at", "snoozed_until", "version", "also"), 7),
    **{name: not getattr(ALERT, name) for name in ("own", "escalated", "fresh", "desk")},
}


@pytest.mark.parametrize("name", Alert._fields)
def test_whatever_is_otherwise_about_an_alert_its_card_is_brought_anew(name: str) -> None:
    words = tongue("en", "America/Los_Angeles")
    before = cards.look(ALERT, False, words, NOW + 1)
    assert cards.look(ALERT._replace(**{name: OTHERWISE[name]}), False, words, NOW + 1) != before
    assert cards.look(ALERT, True, words, NOW + 1) != before, "it stands elsewhere on the page"


@given(
    st.integers(0, 5 * 24 * HOUR),
    st.none() | st.integers(0, 5 * 24 * HOUR),
    st.none() | st.integers(-5 * 24 * HOUR, 5 * 24 * HOUR),
    st.integers(0, 24 * HOUR),
    st.integers(0, 2 * HOUR),
)
def test_a_card_that_is_only_named_says_what_it_would_say_now(
    ago: int, taken: int | None, snoozed: int | None, now: int, later: int
) -> None:
    """But for the minute of "5 minutes ago", and the hour after the first."""
    words, now = tongue("en", "America/Los_Angeles"), NOW + now
    alert = ALERT._replace(
        at=now - ago,
        acknowledged_at=None if taken is None else now - taken,
        acknowledged_by=None if taken is None else "Ana Ruiz",
        snoozed_until=None if snoozed is None else now + snoozed,
    )

    def card(at: int) -> dict[str, Any]:
        drawn = cards.card(alert, words, at, 0, "h-1", default())
        return drawn | {"when": drawn["when"].rpartition(", ")[2]}

    if cards.look(alert, False, words, now) == cards.look(alert, False, words, now + later):
        assert card(now) == card(now + later)
        assert later < HOUR
