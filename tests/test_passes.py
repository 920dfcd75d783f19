"""Cards, PINs and visits: what opens a participant's page, for how long, and what guessing comes to."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest
import sqlalchemy as sa

from consent import entrance
from consent.record import Placed, Record
from hub import codes, helping
from hub import passes as cards
from hub.guesses import REST_MS, REST_MS_MAX, TRIES_MAX, Resting
from hub.kek import LocalKek
from hub.owntables import attempts, passes, visits
from hub.passes import IDLE_MS_MAX, VISIT_MS_MAX, Passes
from hub.store import Store
from hub.vault import Vault
from schemas.errors import Erased, Invalid, Unavailable
from tests.cases import STAKEHOLDERS
from tests.desk import Log
from tests.small import AT, ask, granted
from tests.stores import opened

PIN, OTHER = "204816", "517293"
DAY = 24 * 3_600_000
WHO = "p-" + "a" * 26
SCOPE = {"purposes": ["care-coordination"], "categories": ["service"], "labels": []}


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
        self.said: list[Placed] = []
        self.store, self.log, self.now = store, Log(), 1_795_000_000_000
        self.vault = Vault(store, LocalKek(bytes(range(32))))
        self.passes = Passes(
            store,
            self.vault,
            self.log,  # type: ignore[arg-type]
            lambda: self.now,
            lambda who: Record(self.said) if who == WHO else Record(),
        )
        self.hasher = Cheap()
        self.passes._hasher = self.hasher  # type: ignore[assignment]

    def names(
        self, name: str = "Ana Ruiz", *, acts: bool = False, until: int | None = None, pin: str = OTHER
    ) -> cards.Card:
        """A helper, named for a day unless told otherwise; what is said of them is in the log."""
        helper = cards.Asked(name, acts, self.now + DAY if until is None else until)

        def agreed(card: str, now: int) -> None:
            assert helper.until is not None
            may = helping.ACTS if acts else helping.SEES
            self.says(helping.directive(WHO, card, name, "m-own", (now, helper.until), may, SCOPE))

        return self.passes.name(WHO, pin, f"participant:{WHO}", helper, agreed)

    def says(self, body: Any) -> None:
        """A directive of the participant's; a consent is called by the directive's id."""
        if "consent" in body:
            body["consent"]["id"] = body["id"]
        self.said.append(Placed(len(self.said), f"d-{len(self.said)}", body))

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
    for secret in (made.code, codes.plain(made.code), PIN, OTHER, str(cookie)):
        assert secret not in kept
        assert secret.encode() not in box.log.text()
    assert "$argon2id$" in kept


def test_codes_are_hard_to_guess_and_easy_to_read() -> None:
    made = {codes.new_code() for _ in range(200)}
    assert len(made) == 200
    assert set("".join(made)) <= set(codes.ALPHABET) | {"-"}
    assert not set("01ILOU") & set(codes.ALPHABET)
    assert len(codes.ALPHABET) ** codes.CODE_CHARS > 2**48


@pytest.mark.parametrize(
    "pin", ["", "12345", "111111", "123456", "987654", "abcdef", "1" * 13, "20481 6", "٢٠٤٨١٦"]
)
def test_a_pin_that_is_guessed_first_is_not_taken(pin: str) -> None:
    with pytest.raises(Invalid):
        codes.check_pin(pin)


def test_a_code_of_nobodys_is_answered_as_a_wrong_pin_is_after_the_same_work(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    nobody = codes.new_code()
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
    own, until = box.passes.make(WHO, PIN, "person:dana"), box.now + DAY
    made = box.names()
    found = box.enters(made.code, OTHER)
    assert found is not None
    assert (found.participant, found.principal, found.helper, found.acts) == (
        WHO,
        f"helper:{made.id}",
        True,
        False,
    )
    assert box.passes.helpers(WHO) == [cards.Helper(made.id, "Ana Ruiz", False, until, f"helper-{made.id}")]
    assert b"Ana" not in box.log.text()
    assert box.enters(own.code) is not None, "naming a helper leaves one's own card alone"
    box.passes.make(WHO, PIN, "person:dana")
    assert box.enters(made.code, OTHER) is not None, "and a new card of one's own leaves the helper's"
    box.now = until
    assert box.enters(made.code, OTHER) is not None
    cookie = box.passes.enter(made.code, OTHER)
    assert cookie is not None
    box.now = until + 1
    assert box.passes.find(cookie, used=False) is None, "the door closes in the middle of a visit"
    assert box.enters(made.code, OTHER) is None
    assert box.passes.helpers(WHO) == []


def test_the_consent_alone_opens_a_helpers_door(box: Box) -> None:
    ana, ben = box.names(acts=True), box.names("Ben")
    visits = [box.passes.enter(one.code, OTHER) for one in (ana, ben)]

    def inside() -> list[bool]:
        return [one is not None and box.passes.find(one, used=False) is not None for one in visits]

    assert inside() == [True, True]
    for back in (
        {"type": "consent-revoked", "consent_id": f"helper-{ana.id}"},
        {"type": "consent-revoked", "consent_id": f"helper-{ana.id}", "recipients": [f"helper:{ana.id}"]},
        {"type": "consent-revoked", "consent_id": f"helper-{ana.id}", "grants": ["act"]},
    ):
        box.says(back)
        assert inside() == [False, True], "at the moment at which the log has it"
        assert box.passes.enter(ana.code, OTHER) is None
        assert [one.name for one in box.passes.helpers(WHO)] == ["Ben"]
        box.said.pop()
    everything = {"purposes": ["*"], "categories": ["*"], "labels": ["*"]}
    box.says({"type": "restriction-placed", "restriction": {"id": "r", "recipients": ["*"], **everything}})
    assert inside() == [False, False], "a never for everybody is one for helpers"
    box.says({"type": "restriction-lifted", "restriction_id": "r"})
    assert inside() == [True, True]
    box.said.clear()
    assert inside() == [False, False], "a card without a consent opens nothing"


def test_a_helpers_consent_names_them_alone_and_no_decision_rests_on_it() -> None:
    body = helping.directive(WHO, "m-1", "Ana Ruiz", "m-own", (0, DAY), helping.ACTS, SCOPE)
    shape = entrance.read(body)
    assert helping.named(shape.rule()) == {"helper:m-1"}
    assert "Ana" not in json.dumps(shape.rule())
    assert shape.personal()["names"] == {"helper:m-1": "Ana Ruiz"}
    grants = body["consent"]["grants"]
    for other in (
        {"consent": {"grants": [*grants, {**grants[0], "id": "g2", "recipients": ["harbor-house"]}]}},
        {"consent": {"grants": [{**grants[0], "recipients": ["helper:m-1", "harbor-house"]}]}},
        {"consent": {"grants": [{**grants[0], "recipients": ["harbor-house"]}]}},
        {"consent": {"grants": []}},
        {"consent": None},
    ):
        assert helping.named(other) == frozenset()
    body["consent"] |= {"id": "c9", "signed_at": AT, "starts_at": AT, "expires_at": "2027-01-01T00:00:00Z"}
    for recipient in [*(one["id"] for one in STAKEHOLDERS), "helper:m-1"]:
        for said in ([], [granted()]):
            assert ask(*said, body, recipient=recipient) == ask(*said, recipient=recipient)


def test_nobody_is_named_where_the_log_does_not_take_it(box: Box) -> None:
    def agreed(_card: str, _now: int) -> None:
        raise Unavailable("the log does not answer")

    with pytest.raises(Unavailable):
        box.passes.name(WHO, OTHER, "p", cards.Asked("Ana", True, box.now + DAY), agreed)
    assert cards.names(box.store, box.vault, WHO) == {}


@pytest.mark.parametrize(
    ("helper", "days"), [("", 1), ("x" * 201, 1), ("Ana\n", 1), ("Ana", 0), ("Ana", 400)]
)
def test_help_has_a_name_and_an_end(box: Box, helper: str, days: int) -> None:
    with pytest.raises(Invalid):
        box.names(helper, until=box.now + days * DAY)
    assert box.said == []


def test_so_many_helpers_and_no_more(box: Box) -> None:
    for number in range(cards.HELPERS_MAX):
        box.names(f"Helper {number}")
    with pytest.raises(Invalid):
        box.names("One more")


def test_who_was_erased_has_no_card_and_no_helper(box: Box) -> None:
    made = box.passes.make(WHO, PIN, "person:dana")
    helper = box.names("Ana")
    cookie = box.passes.enter(helper.code, OTHER)
    assert cookie is not None
    cards.forget(box.store, WHO)
    box.vault.destroy(WHO)
    assert box.passes.find(cookie, used=False) is None
    assert box.passes.enter(made.code, PIN) is None
    with pytest.raises(Erased):
        box.names("Ana")


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
