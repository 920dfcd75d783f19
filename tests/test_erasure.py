"""Erasing somebody: nothing opens any more, wherever it was cut short, and what left is named."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from consent.record import Record
from hub import cli, erasure, settings
from hub.crosswalk import Crosswalk
from hub.erasure import Erasure, Holder, NobodyToErase, erase
from hub.merging import Merging
from hub.projections import project
from hub.pulls import Pulls
from hub.registration import described
from hub.tables import alerts, crosswalk, keys, pulls, requests
from hub.vault import CACHE_MS_MAX
from schemas.errors import Erased, Refused, Unavailable
from tests.desk import Desk, desk
from tests.test_accounting import NOW, delivery

CLINIC = {
    "id": "clinic",
    "name": "Tideline Clinic",
    "role": "service-provider",
    "agreement": {"from": "2025-01-01T00:00:00Z"},
}


SEALED: dict[str, bytes] = {}  # something about each participant


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    """Somebody whom two agencies know, with an alert on a page, something to fetch, and a delivery made."""
    made = desk(tmp_path)
    made.registration.register([described(CLINIC)], "test")
    yield made
    made.store.close()


def somebody(at: Desk) -> str:
    who = at.participants.create("reach", "R-1", "test").participant
    at.participants.link(who, "clinic", "C-Quintana", "reach", "test")
    sealed = SEALED[who] = at.vault.sealer(who).seal(b"x", b"says something")
    with at.store.write() as connection:
        for name in ("a-1", "a-2"):
            row = {"id": name, "changed": int(name[2:]), "stakeholder": "reach", "participant": who}
            row |= {"event": "e-1", "rule": "r", "urgency": "urgent", "sealed": sealed, "at": NOW}
            connection.execute(alerts.insert().values(row))
        wait = {"stakeholder": "clinic", "number": 1, "key": "k-1", "participant": who, "event": "e-1"}
        connection.execute(pulls.insert().values(wait | {"sealed": sealed, "at": NOW, "fetched_at": None}))
        project(connection, delivery(1, "k-1", NOW, participant=who))
        project(connection, delivery(3, "k-2", NOW + 5, None, participant=who, event="e-2"))
    return who


def done(at: Desk, who: str) -> Erasure:
    return erase(at.store, at.vault, at.participants, at.log, who, "test")  # type: ignore[arg-type]


def nothing_is_left(at: Desk, who: str) -> None:
    with at.store.read() as connection:
        assert connection.execute(sa.select(crosswalk).where(crosswalk.c.participant == who)).all() == []
        (key,) = connection.execute(sa.select(keys).where(keys.c.subject == who)).all()
        assert (key.wrapped, key.destroyed_at is not None) == (None, True)
        for row in connection.execute(sa.select(alerts).where(alerts.c.participant == who)):
            assert (row.withdrawn_at is not None, row.sealed) == (True, b"")
        assert connection.execute(sa.select(pulls).where(pulls.c.participant == who)).all() == []
    with pytest.raises(Erased):
        at.vault.sealer(who).open(b"x", SEALED[who])
    with pytest.raises(Erased):
        at.vault.sealer(who).seal(b"x", b"no new key is made")


def test_nothing_opens_any_more_and_what_left_is_named(at: Desk) -> None:
    who = somebody(at)
    assert done(at, who) == Erasure(True, 2, 3, (Holder("clinic", 1, 1, NOW + 9),))
    nothing_is_left(at, who)
    assert Pulls(at.store).page("clinic") == []
    assert Crosswalk(at.store, at.vault).local_id("reach", who) is None
    assert at.participants.of("reach", "R-1") is None
    with pytest.raises(Refused):
        at.participants.link(who, "clinic", "C-2", "reach", "test")
    again = at.participants.create("reach", "R-1", "test").participant
    assert again != who  # who comes back begins anew


@pytest.mark.parametrize("asked", ["stays", "absorbed"])
def test_of_somebody_who_was_merged_every_id_is_erased(at: Desk, asked: str) -> None:
    absorbed = somebody(at)
    stays = at.participants.create("reach", "R-2", "test").participant
    SEALED[stays] = at.vault.sealer(stays).seal(b"x", b"says something")
    merging = Merging(at.store, at.vault, at.log, at.participants, lambda _: Record([]))  # type: ignore[arg-type]
    assert merging.merge(stays, absorbed, "test").links == 2
    who, other = (stays, absorbed) if asked == "stays" else (absorbed, stays)
    finished = done(at, who)
    assert finished == Erasure(True, 3, 3, (Holder("clinic", 1, 1, NOW + 9),), (other,))
    nothing_is_left(at, stays)
    nothing_is_left(at, absorbed)
    erasure.told(at.log, who, "test", finished)  # type: ignore[arg-type]
    acts = [(one["kind"], one["participant"]) for one in at.log.values("access")]
    assert {(kind, one) for kind in ("erasure-begun", "erased") for one in (stays, absorbed)} <= set(acts)
    assert done(at, other) == Erasure(False, 0, 0, (Holder("clinic", 1, 1, NOW + 9),), (who,))


def test_a_second_time_there_is_nothing_left_to_do_and_it_is_said(at: Desk) -> None:
    who = somebody(at)
    done(at, who)
    assert done(at, who) == Erasure(False, 0, 0, (Holder("clinic", 1, 1, NOW + 9),))


def test_the_log_tells_who_was_unlinked_and_that_it_was_asked_and_names_nobody(at: Desk) -> None:
    who = somebody(at)
    finished = done(at, who)
    erasure.told(at.log, who, "test", finished)  # type: ignore[arg-type]
    assert [one["kind"] for one in at.log.values("identity")] == ["linked", "linked", "unlinked", "unlinked"]
    asked, told = at.log.values("access")
    assert (asked["kind"], asked["participant"]) == ("erasure-begun", who)
    assert json.loads(told["body"]) == {
        "links": 2,
        "withdrawn": 3,
        "holders": ["clinic"],
        "unheard": [],
    }
    assert b"Quintana" not in at.log.text()


@pytest.mark.parametrize("taken", range(4))
def test_cut_short_anywhere_it_is_finished_by_the_next(at: Desk, taken: int) -> None:
    """The log takes so many records and no more; then somebody tries again."""
    who = somebody(at)
    whole = at.log.append
    left = [taken]

    def some(*record: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Unavailable("the log takes nothing now")
        return whole(*record)

    with contextlib.suppress(Unavailable):
        at.log.append = some  # type: ignore[method-assign]
        done(at, who)
    at.log.append = whole  # type: ignore[method-assign]
    done(at, who)
    nothing_is_left(at, who)


def test_an_order_that_waits_for_its_second_officer_waits_no_more(at: Desk) -> None:
    who = somebody(at)
    row = {
        "sender": "s",
        "id": "1",
        "directive": "d-1",
        "participant": who,
        "digest": "x",
        "type": "order-filed",
    }
    with at.store.write() as connection:
        connection.execute(requests.insert().values(row | {"state": "waiting", "sealed": b"s", "at": NOW}))
    done(at, who)
    with at.store.read() as connection:
        (kept,) = connection.execute(sa.select(requests)).all()
    assert (kept.state, kept.sealed) == ("rejected", None)


def test_nobody_is_erased_who_never_was(at: Desk) -> None:
    with pytest.raises(NobodyToErase):
        done(at, "p-never")
    assert at.log.values("access") == []


@pytest.fixture
def commanded(at: Desk, monkeypatch: pytest.MonkeyPatch) -> tuple[Desk, list[float]]:
    """The command over that desk, and how long it waited."""
    parts = SimpleNamespace(
        store=at.store, vault=at.vault, participants=at.participants, appender=at.log, register=at.register
    )
    waited: list[float] = []
    monkeypatch.setattr(erasure.bootstrap, "bootstrap", lambda _: contextlib.nullcontext(parts))
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(erasure._wait, "__defaults__", (waited.append,))
    return at, waited


def ran(*arguments: str, typed: str = "") -> Any:
    return CliRunner().invoke(cli.app, ["erase", *arguments], input=typed)


def test_it_asks_for_the_id_again_and_another_one_changes_nothing(
    commanded: tuple[Desk, list[float]],
) -> None:
    at, waited = commanded
    who = somebody(at)
    assert ran(who, typed="p-another\n").exit_code != 0
    assert at.vault.sealer(who).open(b"x", at.vault.sealer(who).seal(b"x", b"y")) == b"y"
    found = ran(who, typed=f"{who}\n")
    assert found.exit_code == 0, found.output
    assert "Tideline Clinic" in found.stdout
    nothing_is_left(at, who)
    # nobody is told before what was being sent has ended; no process ran that had to forget the key
    assert CACHE_MS_MAX > sum(waited) * 1000 > settings.load().send_ms_max


def test_as_json_it_can_be_read_by_a_program(commanded: tuple[Desk, list[float]]) -> None:
    at, _ = commanded
    who = somebody(at)
    said = json.loads(ran(who, "--yes", "--json").stdout)
    assert (said["participant"], said["key"], said["links"]) == (who, True, 2)
    assert said["holders"][0] | {"last": ""} == {
        "stakeholder": "clinic",
        "name": "Tideline Clinic",
        "events": 1,
        "in_doubt": 1,
        "last": "",
    }
    assert at.log.values("access")[-1]["kind"] == "erased"
