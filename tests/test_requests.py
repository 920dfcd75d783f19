"""What participants ask for: filed once, put off once, closed once, sealed, and built again from the log."""

import itertools
import json
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from hub import auditor, deadlines
from hub.casetables import petitions
from hub.requests import Requests, apply
from hub.store import Store, upsert
from hub.tables import crosswalk
from schemas import codec
from schemas.errors import Invalid, Refused, Unavailable
from tests.office import HOUR, NOW, Office

DAY = 24 * HOUR
WHO, SHE, HE = "p-1", "person:ida", "person:otis"
SECRET = "my brother's name is Aurelio Banderas-Quick"


class Counter(Office):
    """Where requests are filed, at a program in Seattle."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        rows = [
            {"agency": "reach", "local": who, "participant": who, "sealed": b"", "at": 0, "offset": 0}
            for who in (WHO, "p-2", "p-3")
        ]
        with store.write() as connection:
            upsert(connection, crosswalk, rows)
        self.zone = ZoneInfo("America/Los_Angeles")
        self.requests = Requests(
            store,
            self.vault,
            self.log,  # type: ignore[arg-type]
            self.zone,
            lambda: self.now,
        )

    def rows(self) -> list[sa.Row]:  # type: ignore[type-arg]
        with self.store.read() as connection:
            return list(connection.execute(sa.select(petitions).order_by(petitions.c.id)))

    def rebuilt(self) -> list[sa.Row]:  # type: ignore[type-arg]
        auditor.rebuild(self.store)
        assert self.rows() == []
        self.replay()
        return self.rows()


@pytest.fixture
def counter(store: Store) -> Counter:
    return Counter(store)


def test_the_whole_way_of_a_request(counter: Counter) -> None:
    name = counter.requests.file("accounting", WHO, "participant", SECRET)
    request = counter.requests.one(name)
    assert request.due_at == deadlines.due("accounting", NOW, ZoneInfo("America/Los_Angeles"))
    assert request.extensible(counter.now)
    assert not request.overdue(counter.now)
    later = counter.requests.extend(name, SHE, "The clinic's records come on paper.")
    assert later.due_at == request.due_at + 30 * DAY
    assert later.first_due_at == request.due_at
    assert not later.extensible(counter.now)
    counter.now = later.due_at + 1
    assert counter.requests.one(name).overdue(counter.now)
    done = counter.requests.answer(name, HE, "Handed over on paper.")
    assert (done.outcome, done.closed_by, done.overdue(counter.now)) == ("answered", HE, False)
    assert counter.requests.words(name) == (
        SECRET,
        "The clinic's records come on paper.",
        "Handed over on paper.",
    )
    assert counter.requests.of(WHO) == [done]
    kinds = [record["kind"] for record in counter.log.values("work")]
    assert kinds == ["request-filed", "request-extended", "request-answered"]


def test_nobodys_words_stand_anywhere_in_clear(counter: Counter) -> None:
    name = counter.requests.file("correction", WHO, "participant", SECRET)
    counter.requests.extend(name, SHE, SECRET + "!")
    counter.requests.refuse(name, SHE, SECRET + "?")
    assert b"Aurelio" not in counter.log.text()
    assert "Aurelio" not in repr(counter.rows())
    counter.vault.destroy(WHO)
    assert counter.requests.words(name) == (None, None, None)
    assert counter.requests.one(name).outcome == "refused"


def test_it_is_built_again_from_the_log(counter: Counter) -> None:
    first = counter.requests.file("copy", WHO, "participant", SECRET)
    counter.requests.file("erasure", "p-2", SHE, once="card-7")
    counter.requests.extend(first, SHE, "Much of it.")
    counter.requests.refuse(first, HE, "Not yours.")
    before = counter.rows()
    assert counter.rebuilt() == before
    counter.replay()
    assert counter.rows() == before


def test_a_repeat_is_the_same_request(counter: Counter) -> None:
    names = {counter.requests.file("copy", WHO, "participant", "x", once="tap-1") for _ in range(3)}
    assert len(names) == 1
    assert len(counter.log.values("work")) == 1
    assert counter.requests.file("copy", WHO, "participant", "x", once="tap-2") not in names
    assert counter.requests.file("copy", "p-2", "participant", "x", once="tap-1") not in names


def test_an_answer_that_got_lost_makes_one_request_of_two_attempts(counter: Counter) -> None:
    counter.log.lose_answers = True
    with pytest.raises(Unavailable):
        counter.requests.file("copy", WHO, "participant", "x", once="tap-1")
    counter.log.lose_answers = False
    name = counter.requests.file("copy", WHO, "participant", "x", once="tap-1")
    counter.replay()
    assert [one.id for one in counter.requests.of(WHO)] == [name]


def test_what_the_log_does_not_take_did_not_happen(counter: Counter) -> None:
    name = counter.requests.file("copy", WHO, "participant")
    counter.log.broken = True
    for act in (counter.requests.extend, counter.requests.answer, counter.requests.refuse):
        with pytest.raises(Unavailable):
            act(name, SHE, "why")
    assert counter.requests.one(name).outcome is None
    assert counter.requests.one(name).extended_at is None


@pytest.mark.parametrize("kind", ["part2-list", "dissemination-log"])
def test_what_the_rule_does_not_let_wait_is_not_put_off(counter: Counter, kind: str) -> None:
    name = counter.requests.file(kind, WHO, "participant")
    with pytest.raises(Refused) as refused:
        counter.requests.extend(name, SHE, "Much to do.")
    assert refused.value.code == "no-extension"
    assert not counter.requests.one(name).extensible(counter.now)


def test_it_is_put_off_once_with_a_reason_and_in_time(counter: Counter) -> None:
    name, late = (counter.requests.file("copy", WHO, "participant") for _ in range(2))
    with pytest.raises(Invalid):
        counter.requests.extend(name, SHE, "  ")
    counter.now = counter.requests.one(name).due_at
    counter.requests.extend(name, SHE, "On its last day.")
    with pytest.raises(Refused) as twice:
        counter.requests.extend(name, SHE, "Again.")
    assert twice.value.code == "extended"
    counter.now += 1
    with pytest.raises(Refused) as gone:
        counter.requests.extend(late, SHE, "A moment too late.")
    assert gone.value.code == "too-late"


@pytest.mark.parametrize(
    ("kind", "who", "text", "code"),
    [
        ("anything", WHO, "", "unknown-kind"),
        ("copy", "p-nobody", "", "not-found"),
        ("copy", "", "", "not-found"),
        ("copy", WHO, "x" * 4_001, "too-large"),
        ("copy", WHO, "a\0b", "not-text"),
    ],
)
def test_what_makes_no_sense_is_refused(counter: Counter, kind: str, who: str, text: str, code: str) -> None:
    with pytest.raises((Invalid, Refused)) as refused:
        counter.requests.file(kind, who, "participant", text)
    assert refused.value.code == code
    assert counter.log.values("work") == []


def test_who_was_erased_files_nothing_more_but_is_answered(counter: Counter) -> None:
    name = counter.requests.file("erasure", WHO, "participant", SECRET)
    counter.vault.destroy(WHO)
    with pytest.raises(Refused) as refused:
        counter.requests.file("copy", WHO, "participant")
    assert refused.value.code == "erased"
    assert counter.requests.answer(name, SHE, "Erased as asked.").outcome == "answered"
    assert counter.requests.words(name).closed_why is None


def test_of_two_who_close_it_at_once_the_first_in_the_log_counts_in_any_order(counter: Counter) -> None:
    """Filed at 0, put off at 1 and 4, answered at 2, refused at 3: applied in every order, and twice."""
    name = counter.requests.file("copy", WHO, "participant")
    filed = counter.log.values("work")[0]
    due = counter.requests.one(name).due_at

    def record(kind: str, by: str, **more: int) -> dict[str, object]:
        body = json.dumps({"about": name, **more}).encode()
        return {"kind": kind, "by": by, "at": NOW, "participant": WHO, "body": body, "sealed": None}

    later = [
        (1, record("request-extended", SHE, due_at=due + DAY)),
        (2, record("request-answered", SHE)),
        (3, record("request-refused", HE)),
        (4, record("request-extended", HE, due_at=due + 2 * DAY)),
    ]
    for order in itertools.permutations(later):
        with counter.store.write() as connection:
            connection.execute(petitions.delete())
            apply(connection, filed, 0)
            for offset, one in (*order, *order):
                apply(connection, one, offset)
        request = counter.requests.one(name)
        assert (request.outcome, request.closed_by, request.extended_by, request.due_at) == (
            "answered",
            SHE,
            SHE,
            due + DAY,
        )
    for order in itertools.permutations(later[1:]):  # put off only after it was closed: not at all
        with counter.store.write() as connection:
            connection.execute(petitions.delete())
            apply(connection, filed, 0)
            for offset, one in order:
                apply(connection, one, offset)
        request = counter.requests.one(name)
        assert (request.extended_by, request.due_at) == (None, due)


def test_who_comes_second_is_told(counter: Counter) -> None:
    name = counter.requests.file("copy", WHO, "participant")
    counter.requests.answer(name, SHE, "Sent.")
    for act in (counter.requests.extend, counter.requests.answer, counter.requests.refuse):
        with pytest.raises(Refused) as refused:
            act(name, HE, "why")
        assert refused.value.code == "closed"
    with pytest.raises(Refused):
        counter.requests.one("r-nothing")
    with pytest.raises(Refused):
        counter.requests.words("r-nothing")


def test_the_queue_has_what_is_due_soonest_first_by_pages(counter: Counter) -> None:
    names = []
    for number, kind in enumerate(("accounting", "part2-list", "copy", "erasure") * 3):
        counter.now = NOW + number * DAY
        names.append(counter.requests.file(kind, f"p-{number % 3 + 1}", "participant"))
    for name in names[:3]:
        counter.requests.answer(name, SHE, "Done.")
        counter.now += 1
    for state, expected in (("open", names[3:]), ("closed", names[2::-1])):
        found, after = [], None
        while True:
            page = counter.requests.queue(state, after, limit=2)  # type: ignore[arg-type]
            found += page.requests
            after = page.after
            if after is None:
                break
        assert {one.id for one in found} == set(expected)
        if state == "open":
            assert found == sorted(found, key=lambda one: (one.due_at, one.id))
        else:
            assert [one.id for one in found] == expected
    for wrong in ("", ".", "1", "1.x", "-1.r-1", "1.r-1' or 1=1 --" + "x" * 60, "9" * 30 + ".r-1"):
        with pytest.raises(Invalid):
            counter.requests.queue("open", wrong)
    waiting = counter.requests.waiting(["p-1", "p-2", "nobody"])
    assert {who: len(some) for who, some in waiting.items()} == {"p-1": 3, "p-2": 3}


def test_a_record_of_the_first_version_is_read_as_one_without_words() -> None:
    record = {"id": "a", "kind": "alert-seen", "at": 1, "by": "b", "participant": "p", "body": b"{}"}
    assert codec.decode(codec.encode("Work", record))[1]["sealed"] is None
