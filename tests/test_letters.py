"""Letters of the community: sealed, read at one desk alone, told how far they are; ten thousand forged."""

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from hub import auditor
from hub.addresses import Addresses
from hub.codes import plain
from hub.letters import BOUNDS, OUTCOMES, Full, Letters, Words, apply
from hub.publictables import letter_days, letters
from hub.store import Store
from hub.tables import accounts
from schemas import codec
from schemas.errors import Invalid, Refused, Unavailable
from tests.office import Office
from tests.webside import NORTH, REACH, Side, records

DAY_MS = 86_400_000
SECRET = "behind the red door lives Aurelio Banderas-Quick"
SHE, HE = "person:ana", "person:ben"


class Mail(Office):
    """Where letters arrive, at a program in Seattle that takes three a day."""

    def __init__(self, store: Store, desk: str | None = REACH, day_max: int = 3) -> None:
        super().__init__(store)
        self.vault._clock_ms = lambda: self.now
        zone = ZoneInfo("America/Los_Angeles")
        args = (store, self.vault, self.log, zone, lambda: self.now, desk, day_max)
        self.letters = Letters(*args)  # type: ignore[arg-type]

    def rows(self) -> list[sa.Row]:  # type: ignore[type-arg]
        with self.store.read() as connection:
            return list(connection.execute(sa.select(letters).order_by(letters.c.id)))

    @property
    def newest(self) -> str:
        return str(max(self.letters.queue(), key=lambda one: one.at).id)


@pytest.fixture
def mail(store: Store) -> Mail:
    return Mail(store)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Mail]:
    """The same on SQLite alone."""
    store = Store(f"sqlite:///{tmp_path / 'hub.db'}")
    store.migrate()
    yield Mail(store)
    store.close()


def test_the_whole_way_of_a_letter(mail: Mail) -> None:
    code = mail.letters.send("harm", Words(SECRET, "the shop next door"))
    assert len(plain(code)) == 16
    assert mail.letters.state(code) == "waiting"
    assert mail.letters.state(f" {code.lower().replace('-', ' ')} ") == "waiting", "as people type it"
    (one,) = mail.letters.queue()
    assert mail.letters.read(one.id, SHE) == Words(SECRET, "the shop next door")
    assert mail.letters.take(one.id, SHE).taken_by == SHE
    assert mail.letters.state(code) == "taken"
    with pytest.raises(Refused) as refused:
        mail.letters.take(one.id, HE)
    assert refused.value.code == "taken"
    assert mail.letters.close(one.id, HE, "followed").outcome == "followed"
    assert mail.letters.state(code) == "closed"
    with pytest.raises(Refused):
        mail.letters.close(one.id, SHE, "passed-on")
    assert mail.letters.queue() == []
    assert [one.outcome for one in mail.letters.queue(closed=True)] == ["followed"]
    assert [one["kind"] for one in mail.log.values("work")] == [
        "letter-received",
        "letter-taken",
        "letter-closed",
    ]
    assert [one["kind"] for one in mail.log.values("access")] == ["letter-read"]


def test_nobodys_words_and_no_code_stand_anywhere_in_clear(mail: Mail) -> None:
    code = mail.letters.send("referral", Words(SECRET, where="42 Banderas-Quick Lane", reach="0199"))
    kept = mail.log.text() + repr(mail.rows()).encode()
    assert b"Banderas" not in kept
    assert plain(code).encode() not in kept
    assert code.encode() not in kept
    (one,) = mail.letters.queue()
    mail.now += 182 * DAY_MS
    assert mail.vault.destroy_expired() == 1
    assert mail.letters.read(one.id, SHE) is None, "after half a year nobody reads it"
    assert mail.letters.state(code) == "waiting"


def test_it_is_built_again_from_the_log_and_the_first_in_the_log_counts(mail: Mail) -> None:
    mail.letters.send("harm", Words("one"))
    name = mail.newest
    mail.letters.take(name, SHE)
    mail.letters.close(name, SHE, "nothing-to-do")
    mail.letters.send("referral", Words("two"))
    before = mail.rows()
    auditor.rebuild(mail.store)
    assert mail.rows() == []
    mail.replay()
    mail.replay()
    assert mail.rows() == before
    works = [dict(one) for one in mail.log.values("work") if json.loads(one["body"])["about"] == name]
    received, taken, _ = works
    for order in itertools.permutations([(1, taken), (2, taken | {"by": HE}), (1, taken)]):
        auditor.rebuild(mail.store)
        with mail.store.write() as connection:
            apply(connection, received, 0)
            for offset, work in order:
                apply(connection, work, offset)
        assert mail.rows()[0].taken_by == SHE


def test_a_repeat_is_the_same_letter_and_a_lost_answer_makes_no_second_one(mail: Mail) -> None:
    codes = {mail.letters.send("harm", Words("x"), once="tap-1") for _ in range(3)}
    assert len(codes) == 1
    assert len(mail.log.values("work")) == 1
    mail.log.lose_answers = True
    with pytest.raises(Unavailable):
        mail.letters.send("harm", Words("y"), once="tap-2")
    mail.log.lose_answers = False
    mail.letters.send("harm", Words("y"), once="tap-2")
    mail.replay()
    assert len(mail.letters.queue()) == 2
    assert mail.letters.days()[0].taken == 2, "what was not taken in has used no place"


@pytest.mark.parametrize(
    ("kind", "words", "paths"),
    [
        ("harm", Words(" \n "), ["/what"]),
        ("gossip", Words("x"), ["/kind"]),
        ("harm", Words("x" * (BOUNDS["what"] + 1), where="y" * (BOUNDS["where"] + 1)), ["/what", "/where"]),
        ("referral", Words("x", reach="\x00"), ["/reach"]),
    ],
)
def test_what_is_no_letter_is_not_kept(mail: Mail, kind: str, words: Words, paths: list[str]) -> None:
    with pytest.raises(Invalid) as invalid:
        mail.letters.send(kind, words)
    assert [one.path for one in invalid.value.problems] == paths
    assert mail.log.values("work") == []


def test_where_nobody_reads_letters_none_is_taken_in(store: Store) -> None:
    mail = Mail(store, desk=None)
    with pytest.raises(Refused) as refused:
        mail.letters.send("harm", Words("x"))
    assert refused.value.code == "no-desk"
    assert mail.log.values("work") == []


def test_ten_thousand_forged_letters_leave_a_bounded_day_and_an_honest_count(small: Mail) -> None:
    mail = small
    mail.letters.send("referral", Words("a real one"))
    name = mail.newest
    waits = []
    for number in range(10_000 - 1):
        try:
            mail.letters.send("harm", Words(f"forged {number}"))
        except Full as full:
            waits.append(full.wait_s)
    assert len(waits) == 9_997
    assert all(0 < wait_s <= 86_400 for wait_s in waits)
    assert len(mail.log.values("work")) == 3
    assert mail.letters.read(name, SHE) == Words("a real one"), "the rest is unharmed"
    (today,) = mail.letters.days()
    assert (today.taken, today.refused) == (3, 9_997)
    mail.now += DAY_MS
    mail.letters.send("referral", Words("the day after"))
    assert [one.taken for one in mail.letters.days()] == [1, 3]


def test_what_was_turned_away_is_counted_without_being_asked(small: Mail) -> None:
    small.letters.turned_away("address")
    until = time.monotonic() + 60
    while True:
        with small.store.read() as connection:
            found = connection.execute(sa.select(letter_days.c.refused)).scalar()
        if found == 1:
            break
        assert time.monotonic() < until
        time.sleep(0.05)


class From:
    """A request from an address."""

    def __init__(self, host: str, forwarded: str = "") -> None:
        self.client = type("Client", (), {"host": host})()
        self.headers = {"x-forwarded-for": forwarded} if forwarded else {}


def test_an_address_is_bounded_and_is_kept_nowhere() -> None:
    now = [0]
    gate = Addresses(10 / 3_600, 10, ["127.0.0.1", "::1"], lambda: now[0])

    def let(*where: str) -> bool:
        return gate.take(From(*where)) == 0  # type: ignore[arg-type]

    assert Counter(let("192.0.2.7") for _ in range(40)) == {True: 10, False: 30}
    assert let("192.0.2.8"), "somebody else is unharmed"
    assert Counter(let(f"2001:db8::1:{n:x}") for n in range(40)) == {True: 10, False: 30}, (
        "one network is one"
    )
    assert Counter(let("198.51.100.1", f"192.0.2.{n}") for n in range(40))[True] == 10, (
        "only a proxy is believed"
    )
    assert all(let("127.0.0.1", f"198.51.100.{n}, 203.0.113.{n}") for n in range(40))
    assert not let("127.0.0.1", "203.0.113.99, 192.0.2.7"), "whom the proxy saw counts, not what they said"
    kept = repr(gate._rates._buckets)
    assert "192.0.2" not in kept
    first = set(gate._rates._buckets)
    now[0] = DAY_MS
    let("192.0.2.7")
    assert len(set(gate._rates._buckets) - first) == 1, "another day, another key"


# ---- over HTTP ------------------------------------------------------------------------------------------


@pytest.mark.broker
def test_anybody_writes_and_only_the_programs_desk_reads(side: Side) -> None:
    servers = side.hub.client["bootstrap.servers"]
    with side.client() as anybody, side.person("case-manager") as desk, side.person("officer") as officer:
        form = anybody.get("/public/letters/harm", headers={"accept-language": "es"})
        assert "¿Qué pasó?" in form.text
        empty = anybody.post("/public/letters/harm", data={"what": " ", "where": "here"})
        assert empty.status_code == 422
        assert "here</textarea>" in empty.text, "what was written is kept"
        given = {"what": SECRET, "once": "tap-77"}
        others = {one.id for one in side.hub.letters.queue()}  # of other tests
        first = anybody.post("/public/letters/harm", data=given)
        again = anybody.post("/public/letters/harm", data=given)
        assert first.status_code == 201
        code = first.text.split('aria-labelledby="receipt">')[1].split("<")[0]
        assert code in again.text
        assert code not in str(first.url)
        api = anybody.post("/v1/letters", json={"kind": "referral", "what": "a man under the bridge"}).json()
        assert set(api) == {"code", "state"}

        def told(code: str) -> str:
            return str(anybody.post("/v1/letters/states", json={"code": code}).json().get("state"))

        assert told(code) == told(api["code"]) == "waiting"
        assert anybody.post("/v1/letters/states", json={"code": "AAAA"}).status_code == 404
        assert anybody.post("/public/letters", data={"code": "AAAA"}).status_code == 404

        (mine,) = [one for one in side.hub.letters.queue() if one.kind == "harm" and one.id not in others]
        assert SECRET not in desk.get("/cases/letters").text
        page = desk.get(f"/cases/letters/{mine.id}").text
        assert SECRET in page
        assert officer.get(f"/cases/letters/{mine.id}").status_code == 403
        desk.post(f"/cases/letters/{mine.id}/taking").raise_for_status()
        assert desk.post(f"/cases/letters/{mine.id}/taking").status_code == 409
        assert told(code) == "taken"
        assert desk.post(f"/cases/letters/{mine.id}/closing", data={"outcome": "x"}).status_code == 422
        desk.post(f"/cases/letters/{mine.id}/closing", data={"outcome": OUTCOMES[0]}).raise_for_status()
        assert told(code) == "closed"
        said = anybody.post("/public/letters", data={"code": code})
        assert "It is closed." in said.text
        assert SECRET not in said.text
    for topic in ("work", "access"):
        assert not any(b"Banderas" in (one.value() or b"") for one in records(servers, topic))
    read = [codec.decode(one.value())[1] for one in records(servers, "access") if one.value()]
    assert any(one["kind"] == "letter-read" and one["principal"] == "person:case-manager" for one in read)


@pytest.mark.broker
def test_another_organisations_desk_reads_nothing(side: Side) -> None:
    side.hub.letters.send("referral", Words("for Reach alone"), once="alone")
    (mine,) = [one for one in side.hub.letters.queue() if one.kind == "referral"][:1]
    other = next(
        one for one in ("case-manager-2", "case-manager-3", "case-manager-4") if _of(side, one) == NORTH
    )
    with side.person(other) as client:
        for answer in (client.get("/cases/letters"), client.get(f"/cases/letters/{mine.id}")):
            assert answer.status_code == 403
        assert client.post(f"/cases/letters/{mine.id}/taking").status_code == 403
        assert "/cases/letters" not in client.get("/cases").text


@pytest.mark.broker
def test_a_flood_from_one_address_is_told_when_to_come_back(side: Side) -> None:
    with side.client() as anybody:
        answers = [anybody.post("/v1/letters", json={"kind": "harm", "what": ""}) for _ in range(15)]
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) > 0
        assert answers[-1].json()["code"] == "too-many-requests"
        page = anybody.post("/public/letters/harm", data={"what": "kept here"})
        assert page.status_code == 429
        assert "kept here" in page.text
        assert anybody.get("/public/letters").status_code == 200, "reading goes on"
        large = anybody.post("/public/letters/harm", data={"what": "x" * 70_000})
        assert large.status_code == 413
        metrics = anybody.get("/metrics").text
    assert re.search(r'hub_letters_refused_total\{.*reason="address"\} [1-9]', metrics)


def _of(side: Side, account: str) -> str | None:
    with side.hub.store.read() as connection:
        query = sa.select(accounts.c.stakeholder).where(accounts.c.id == account)
        return connection.execute(query).scalar()
