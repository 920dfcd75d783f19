"""The fence's proof in short, and that it would notice: the same hub, made worse, is caught."""

import os
import threading
from collections.abc import Iterator

import pytest

from tests.faults.county import Person, Taking, wishes
from tests.faults.proof import Arrival, Town, judged
from tests.streams_kit import until

SECOND = 1_000_000_000
ONE = Person(1, "p")
NAMES = {"Event 1": "e-1", "Event 2": "e-2"}

pytestmark = pytest.mark.timeout(1_800)
at_full_length = pytest.mark.skipif("FAULTS_EVENTS" not in os.environ, reason="the long form: `make faults`")


def arrival(began: int, event: str = "Event 1", recipient: str = "slow") -> Arrival:
    return Arrival(began, recipient, ONE.name, event, "k")


def test_what_begins_after_the_200_is_counted() -> None:
    taking = Taking(ONE, ("slow",), whole=False, began=SECOND, closed=3 * SECOND)
    before = [arrival(2 * SECOND), arrival(9 * SECOND, recipient="prompt")]
    fine = judged([taking], before, NAMES)
    assert (fine["after_200"], fine["began_before_the_answer"], fine["nearest_before_a_200_ms"]) == (
        0,
        1,
        1000,
    )
    assert judged([taking], [*before, arrival(3 * SECOND + 1)], NAMES)["after_200"] == 1


def test_in_doubt_only_what_is_listed_may_still_go() -> None:
    doubt = [{"stakeholder": "slow", "event": "e-1", "attempt": 1, "at": 0}]
    taking = Taking(ONE, ("slow",), whole=False, doubted=3 * SECOND, listed=doubt)
    listed = judged([taking], [arrival(4 * SECOND)], NAMES)
    assert (listed["unlisted"], listed["of_the_listed_had_gone"]) == (0, 1)
    assert judged([taking], [arrival(4 * SECOND, "Event 2")], NAMES)["unlisted"] == 1


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    bounds = {"session_ms_max": 2_500, "transaction_ms_max": 6_000}
    with Town(tmp_path_factory.mktemp("fence"), partitions=3, **bounds) as made:
        made.fleet.ready()
        yield made


@pytest.mark.broker
@at_full_length
def test_nothing_begins_after_the_200(town: Town) -> None:
    """One worker is frozen until it has been replaced, the other one killed meanwhile."""
    people = town.county.settle(20)
    town.county.publish(people * 8)
    town.fill(20 * 8 * 4)
    town.deliver(2)
    takings = wishes(people, 30)
    zombie = threading.Thread(target=town.fleet.freeze, args=("connectors", 4.0))
    zombie.start()
    until(lambda: town.fleet.frozen, "a worker to freeze")
    asked = threading.Thread(target=town.county.take_back, args=(takings, 8))
    asked.start()
    town.fleet.kill("connectors")
    zombie.join()
    asked.join()
    verdict = judged(takings, town.arrivals(), town.county.events)
    assert (verdict["after_200"], verdict["unlisted"]) == (0, 0)
    assert sum(bool(one.closed) for one in takings) > 0
    assert town.told()["withheld"] > 0, "there was nothing to hold back"


@pytest.mark.broker
@at_full_length
def test_an_owner_that_acknowledges_what_it_does_not_know_is_caught(town: Town) -> None:
    town.fleet.want("connectors", 0)
    before = town.offered()
    people = town.county.settle(3)
    town.county.publish(people * 40)
    town.fill(before + 3 * 40 * 4)
    town.deliver(2, broken="deaf")
    takings = [Taking(one, ("slow",), whole=False) for one in people]
    town.county.take_back(takings, 3)
    until(
        lambda: judged(takings, town.arrivals(), town.county.events)["after_200"],
        "the observer to catch it",
    )
