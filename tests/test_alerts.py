"""Alerts: shown where a rule asks for it, taken back before anybody is told that the fence is closed."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from connectors.adapter import Alert, Made, Outcome, Outgoing, Rings, Share, Shown
from connectors.alerts import ADAPTER, Alerts
from connectors.standing import Watch, aad, review_ms
from consent import Governance, State, default_policy, fold
from schemas import codec
from schemas.errors import Unsealable
from tests.delivery_scene import STAKEHOLDERS, Keys, event, granted, revoked

NOW = 1_790_000_000_000


class Sink:
    """Alerts in memory, by the protocol's words."""

    def __init__(self) -> None:
        self.rows: dict[str, Alert] = {}
        self.withdrawn: set[str] = set()
        self.asked: list[Sequence[str] | None] = []
        self.batches: list[int] = []
        self.refused: set[str] = set()
        self.broken = False

    def insert_all(self, made: Sequence[Made]) -> list[Rings]:
        if any(alert.id in self.refused for some in made for alert in some.alerts):
            raise ValueError("the store takes none of these")
        self.batches.append(len(made))
        for some in made:
            for alert in some.alerts:
                self.rows.setdefault(alert.id, alert)
        return [
            Rings(tuple((one.id, one.due_at) for one in some.alerts if one.due_at is not None), ())
            for some in made
        ]

    def shown(self, participants: Sequence[str] | None = None) -> list[Shown]:
        if self.broken:
            raise OSError("the store is away")
        self.asked.append(participants)
        return [
            Shown(one.id, one.stakeholder, one.participant, one.sealed)
            for one in self.rows.values()
            if one.id not in self.withdrawn and (participants is None or one.participant in participants)
        ]

    def withdraw(self, ids: Sequence[str]) -> None:
        self.withdrawn.update(ids)

    def standing(self) -> set[str]:
        return set(self.rows) - self.withdrawn


class Desk:
    """The adapter, the watch, and the words of two participants."""

    def __init__(self) -> None:
        self.sink, self.keys = Sink(), Keys()
        self.adapter = Alerts(self.sink, self.keys, lambda: NOW)
        self.watch = Watch(self.sink, self.keys)
        self.states = {"p1": fold([granted()]), "p2": fold([granted()])}
        self.governance = Governance()
        self.govern("policy", "policy", default_policy())
        for one in STAKEHOLDERS:
            self.govern("stakeholder", one["id"], one)
        self.subscribe()

    def govern(self, kind: str, name: str, body: Any) -> None:
        record = {"kind": kind, "id": name, "at": NOW, "by": "t", "body": json.dumps(body).encode()}
        self.governance.apply(
            self.governance.offset + 1, codec.decode_as("Governance", codec.encode("Governance", record))
        )

    def subscribe(self, **more: Any) -> None:
        wish = {
            "stakeholder": "reach",
            "purpose": "care-coordination",
            "categories": ["contact"],
            "adapter": ADAPTER,
        }
        self.govern("subscription", "s1", {**wish, **more})

    async def show(
        self, participant: str = "p1", category: str = "contact.custody-booking", *parts: str
    ) -> Outcome:
        made = event(1, participant, category)
        share = Share(
            "s1", "care-coordination", "consent", ("c1/g1",), parts or ("occurrence", "subject"), ()
        )
        view = {
            "type": "contact",
            "category": category,
            "data": {part: {"x": 1} for part in share.compartments},
        }
        return await self.adapter.deliver(
            Outgoing(f"d-{participant}", "reach", ADAPTER, 1, {}, view, made["envelope"], (share,))
        )

    def review(self, now: int = NOW, mine: Sequence[str] = ("p1", "p2")) -> bool:
        def state_of(stakeholder: str, participant: str) -> State | None:
            return self.states[participant] if participant in mine else None

        return self.watch.review(now, state_of, self.governance)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_booking_is_shown_sealed(desk: Desk) -> None:
    assert await desk.show() == Outcome("delivered", "shown")
    [row] = desk.sink.rows.values()
    assert (row.rule, row.urgency, row.stakeholder) == ("booked-into-custody", "urgent", "reach")
    assert b"custody" not in row.sealed
    body = json.loads(desk.keys.sealer("p1").open(aad(row.id), row.sealed))
    assert set(body["view"]["data"]) == {"occurrence", "subject"}
    with pytest.raises(Unsealable):
        desk.keys.sealer("p1").open(aad("another"), row.sealed)


async def test_what_no_rule_asks_for_is_told_on_the_timeline_alone(desk: Desk) -> None:
    assert await desk.show(category="contact.outreach") == Outcome("delivered", "kept")
    [row] = desk.sink.rows.values()
    assert (row.rule, row.urgency, row.due_at) == ("", "information", None)


async def test_delivered_twice_is_shown_once(desk: Desk) -> None:
    await desk.show()
    first = desk.sink.rows["d-p1"]
    await desk.show()
    assert desk.sink.rows == {"d-p1": first}


async def test_what_comes_together_is_kept_together_and_one_that_cannot_be_is_its_own_trouble(
    desk: Desk,
) -> None:
    desk.sink.refused.add("d-p2")
    people = ["p1", "p2", *(f"p{n}" for n in range(3, 41))]
    came = await asyncio.gather(*(desk.show(one) for one in people), return_exceptions=True)
    assert [isinstance(one, ValueError) for one in came] == [one == "p2" for one in people]
    assert desk.sink.standing() == {f"d-{one}" for one in people if one != "p2"}
    desk.sink.batches.clear()
    await asyncio.gather(*(desk.show(one) for one in people[2:]))
    assert desk.sink.batches == [len(people) - 2], "one commit for all of them"


async def test_taking_back_takes_it_off_the_screen(desk: Desk) -> None:
    for participant in ("p1", "p2"):
        await desk.show(participant)
    assert desk.review()
    assert desk.sink.standing() == {"d-p1", "d-p2"}
    desk.states["p1"] = fold([granted(), revoked()])
    desk.watch.narrowed("p1")
    assert desk.review()
    assert desk.sink.standing() == {"d-p2"}
    assert desk.sink.asked[-1] == ["p1"], "only whom it concerns"


async def test_nothing_is_acknowledged_while_it_still_shows(desk: Desk) -> None:
    await desk.show()
    assert desk.review()
    desk.states["p1"] = fold([granted(), revoked()])
    desk.watch.narrowed("p1")
    desk.sink.broken = True
    assert not desk.review()
    assert not desk.review(NOW + 1), "nor a moment later"
    desk.sink.broken = False
    assert desk.review(NOW + 5_000)
    assert desk.sink.standing() == set()


async def test_an_alert_never_shows_more_than_is_allowed_now(desk: Desk) -> None:
    await desk.show("p1", "contact.custody-booking", "occurrence", "subject")
    desk.states["p1"] = fold([granted(compartments=["subject"])])
    desk.watch.narrowed("p1")
    assert desk.review()
    assert desk.sink.standing() == set()


async def test_consents_that_end_by_the_calendar_are_noticed(desk: Desk) -> None:
    await desk.show()
    assert desk.review()
    late = 1_900_000_000_000  # past the consent's end
    assert desk.watch.due(late)
    assert desk.review(late)
    assert desk.sink.standing() == set()
    assert desk.watch.due(late + review_ms)
    assert not desk.watch.due(late + review_ms - 1)


async def test_a_subscription_that_is_gone_takes_its_alerts_along(desk: Desk) -> None:
    await desk.show()
    desk.govern("retired", "s1", {"kind": "subscription"})
    desk.watch.everything()
    assert desk.review()
    assert desk.sink.standing() == set()


async def test_an_erased_participants_alert_is_withdrawn(desk: Desk) -> None:
    await desk.show()
    desk.keys.erased.add("p1")
    desk.watch.everything()
    assert desk.review()
    assert desk.sink.standing() == set()


async def test_what_another_worker_owns_is_left_to_it(desk: Desk) -> None:
    await desk.show()
    desk.states["p1"] = fold([granted(), revoked()])
    desk.watch.everything()
    assert desk.review(mine=["p2"])
    assert desk.sink.standing() == {"d-p1"}
