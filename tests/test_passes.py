"""Cards, PINs and visits: what opens a participant's page, for how long, and what guessing comes to."""

import threading
from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest
import sqlalchemy as sa

from hub import passes as cards
from hub.kek import LocalKek
from hub.owntables import attempts, passes, visits
from hub.passes import ALPHABET, IDLE_MS_MAX, REST_MS, REST_MS_MAX, TRIES_MAX, VISIT_MS_MAX, Passes, Resting
from hub.store import Store
from hub.vault import Vault
from schemas.errors import Erased, Invalid
from tests.desk import Log
from tests.stores import opened

PIN, OTHER = "204816", "517293"
DAY = 24 * 3_600_000
WHO = "p-" + "a" * 26


class Cheap:
    """Hashes as the real one does, for less; counts what it was asked to verify."""

    def __init__(self) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def hash(self, pin: str) -> str:
        return self._hasher.hash(pin)

    def verify(self, hashed: str, pin: str) -> bool:
        self.verified += 1
        return self._hasher.verify(hashed, pin)


class Box:
    """Cards on a store, with a log and a clock in memory, and a hash that costs little."""

    def __init__(self, store: Store) -> None:
        self.store, self.log, self.now = store, Log(), 1_795_000_000_000
        self.vault = Vault(store, LocalKek(bytes(range(32))))
        self.passes = Passes(store, self.vault, self.log, lambda: self.now)  # type: ignore[arg-type]
        self.hasher = Cheap()
        self.passes._hasher = self.hasher  # type: ignore[assignment]

    def enters(self, code: str, pin: str = PIN) -> cards.Visitor | None:
        cookie = self.passes.enter(code, pin)
        return None if cookie is None else self.passes.find(cookie, used=False)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        yield Box(store)


def test_a_visit_begins_and_ends_on_either_store(store: Store) -> None:
    box = Box(store)
    made = box.passes.make(WHO, PIN, "person:dana")
    cookie = box.passes.enter(made.code, PIN)
    assert cookie is not None
    assert box.passes.enter(made.code, OTHER) is None
    box.passes.make(WHO, PIN, "person:dana")
    assert box.passes.find(cookie, used=True) is None


def test_a_card_and_its_pin_open_ones_own_page(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    for typed in (made.code, made.code.lower(), made.code.replace("-", ""), f" {made.code} "):
        found = box.enters(typed)
        assert found is not None
        assert (found.participant, found.principal, found.acts) == (WHO, f"participant:{WHO}", True)
    assert box.enters(made.code, OTHER) is None
    kinds = sorted(one["kind"] for one in box.log.values("access"))
    assert kinds == ["card-made", "signed-in", "signed-in", "signed-in", "signed-in"]


def test_of_code_pin_and_cookie_only_hashes_are_kept(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    cookie = box.passes.enter(made.code, PIN)
    box.passes.enter(made.code, OTHER)
    with box.store.read() as connection:
        kept = repr([connection.execute(sa.select(table)).all() for table in (passes, visits, attempts)])
    for secret in (made.code, cards.plain(made.code), PIN, OTHER, str(cookie)):
        assert secret not in kept
        assert secret.encode() not in box.log.text()
    assert "$argon2id$" in kept


def test_codes_are_hard_to_guess_and_easy_to_read() -> None:
    codes = {cards.new_code() for _ in range(200)}
    assert len(codes) == 200
    assert set("".join(codes)) <= set(ALPHABET) | {"-"}
    assert not set("01ILOU") & set(ALPHABET)
    assert len(ALPHABET) ** cards.CODE_CHARS > 2**48


@pytest.mark.parametrize(
    "pin", ["", "12345", "111111", "123456", "987654", "abcdef", "1" * 13, "20481 6", "٢٠٤٨١٦"]
)
def test_a_pin_that_is_guessed_first_is_not_taken(pin: str) -> None:
    with pytest.raises(Invalid):
        cards.check_pin(pin)


def test_a_code_of_nobodys_is_answered_as_a_wrong_pin_is_after_the_same_work(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    nobody = cards.new_code()
    told: list[list[object]] = []
    for code in (made.code, nobody):
        box.hasher.verified = 0
        said: list[object] = [box.passes.enter(code, OTHER) for _ in range(TRIES_MAX)]
        with pytest.raises(Resting) as rests:
            box.passes.enter(code, PIN)
        told.append([*said, rests.value.until, box.hasher.verified])
    assert told[0] == told[1]
    assert sorted(one["kind"] for one in box.log.values("access")) == [
        "card-made",
        "card-rests",
        "card-rests",
    ]


def test_guessing_is_throttled_longer_each_time_and_the_right_pin_ends_it(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    rested = []
    for _ in range(10):
        for _ in range(TRIES_MAX):
            assert box.passes.enter(made.code, OTHER) is None
        with pytest.raises(Resting) as rests:
            box.passes.enter(made.code, OTHER)
        rested.append(rests.value.until - box.now)
        box.now = rests.value.until
    assert rested[:4] == [REST_MS, 2 * REST_MS, 4 * REST_MS, 8 * REST_MS]
    assert rested[-1] == REST_MS_MAX
    assert box.enters(made.code) is not None
    assert box.passes.enter(made.code, OTHER) is None, "the count begins anew"


def test_a_new_card_ends_the_old_one_and_works_at_once_while_that_rests(box: Box) -> None:
    lost = box.passes.make(WHO, PIN, "person:dana")
    cookie = box.passes.enter(lost.code, PIN)
    assert cookie is not None
    for _ in range(TRIES_MAX):
        box.passes.enter(lost.code, OTHER)
    fresh = box.passes.make(WHO, OTHER, "person:dana")
    assert box.passes.find(cookie, used=True) is None, "its visits are over, too"
    assert box.enters(fresh.code, OTHER) is not None
    box.now += REST_MS
    assert box.passes.enter(lost.code, PIN) is None


def test_a_visit_is_short_and_shorter_when_left_alone(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    cookie = box.passes.enter(made.code, PIN)
    assert cookie is not None
    box.now += IDLE_MS_MAX - 1
    assert box.passes.find(cookie, used=True)
    box.now += IDLE_MS_MAX - 1
    assert box.passes.find(cookie, used=False), "what they did a while ago counts"
    box.now += 2
    assert box.passes.find(cookie, used=True) is None
    cookie = box.passes.enter(made.code, PIN)
    assert cookie is not None
    for _ in range(VISIT_MS_MAX // IDLE_MS_MAX * 2):
        box.now += IDLE_MS_MAX // 2
        box.passes.find(cookie, used=True)
    assert box.passes.find(cookie, used=True) is None
    cookie = box.passes.enter(made.code, PIN)
    assert cookie is not None
    found = box.passes.find(cookie, used=True)
    assert found is not None
    box.passes.leave(found.session)
    assert box.passes.find(cookie, used=True) is None
    assert box.passes.find("x" * 10_000, used=True) is None


def test_a_helper_has_a_card_of_their_own_for_a_time(box: Box) -> None:
    own = box.passes.make(WHO, PIN, "person:dana")
    until = box.now + DAY
    made = box.passes.make(WHO, OTHER, f"participant:{WHO}", helper="Ana Ruiz", acts_too=False, until=until)
    found = box.enters(made.code, OTHER)
    assert found is not None
    assert (found.participant, found.principal, found.helper, found.acts) == (
        WHO,
        f"helper:{made.id}",
        True,
        False,
    )
    assert box.passes.helpers(WHO) == [cards.Helper(made.id, "Ana Ruiz", False, until)]
    assert b"Ana" not in box.log.text()
    assert box.enters(own.code) is not None, "naming a helper leaves one's own card alone"
    box.passes.make(WHO, PIN, "person:dana")
    assert box.enters(made.code, OTHER) is not None, "and a new card of one's own leaves the helper's"
    box.now = until + 1
    assert box.enters(made.code, OTHER) is None
    assert box.passes.helpers(WHO) == []


def test_a_helper_is_ended_at_once_and_only_by_this_participant(box: Box) -> None:
    made = box.passes.make(WHO, OTHER, "p", helper="Ana", until=box.now + DAY)
    cookie = box.passes.enter(made.code, OTHER)
    assert cookie is not None
    assert not box.passes.end("p-" + "b" * 26, made.id, "participant:p-b")
    assert box.passes.find(cookie, used=False)
    assert box.passes.end(WHO, made.id, f"participant:{WHO}")
    assert box.passes.find(cookie, used=False) is None
    assert not box.passes.end(WHO, made.id, f"participant:{WHO}")


@pytest.mark.parametrize(
    ("helper", "days"), [("", 1), ("x" * 201, 1), ("Ana\n", 1), ("Ana", 0), ("Ana", 400), ("Ana", None)]
)
def test_help_has_a_name_and_an_end(box: Box, helper: str, days: int | None) -> None:
    until = None if days is None else box.now + days * DAY
    with pytest.raises(Invalid):
        box.passes.make(WHO, PIN, "p", helper=helper, until=until)


def test_so_many_helpers_and_no_more(box: Box) -> None:
    for number in range(cards.HELPERS_MAX):
        box.passes.make(WHO, PIN, "p", helper=f"Helper {number}", until=box.now + DAY)
    with pytest.raises(Invalid):
        box.passes.make(WHO, PIN, "p", helper="One more", until=box.now + DAY)


def test_who_was_erased_has_no_card_and_no_helper(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    helper = box.passes.make(WHO, OTHER, "p", helper="Ana", until=box.now + DAY)
    cookie = box.passes.enter(helper.code, OTHER)
    assert cookie is not None
    cards.forget(box.store, WHO)
    box.vault.destroy(WHO)
    assert box.passes.find(cookie, used=False) is None
    assert box.passes.enter(made.code, PIN) is None
    with pytest.raises(Erased):
        box.passes.make(WHO, PIN, "p", helper="Ana", until=box.now + DAY)


def test_many_at_once_are_let_in_one_after_the_other(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    found: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(box.passes.enter(made.code, PIN))) for _ in range(6)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(found)) == 6
    assert None not in found
