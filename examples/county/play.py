"""The play itself, scene by scene: each step repeatable, between scenes a wait for all that is due.

The waits make the count exact: what was published before a revocation has arrived before it is made. Only the
race has none, and is counted apart.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, TypeVar

from examples.county.bad import conflicting, refused, strangers
from examples.county.events import Event
from examples.county.expected import Due, Reckoner
from examples.county.files import Files
from examples.county.hubside import Hub, NotDone, as_sent, now, witness
from examples.county.inbox import Inbox
from examples.county.journal import Journal
from examples.county.messages import batch
from examples.county.officers import Officers
from examples.county.people import REACHED_BY
from examples.county.plan import RACING, Plan, Scene, Submission
from examples.county.shelf import Shelf
from examples.county.signed import BY_FHIR, resource
from examples.county.waiting import Show, Waiting, moments
from examples.county.wishes import Directive

Thing = TypeVar("Thing")

hands = 8
ALONE = frozenset({"http-single", "http-binary"})
batch_events_max = 100
strangers_count = 12
repeats_share = 20  # one in so many is sent twice
race_ms_max = 1_000  # so far may the revocation be behind the first event


class Play:
    """One performance, or the rest of one that was killed."""

    def __init__(
        self,
        plan: Plan,
        policy: dict[str, Any],
        journal: Journal,
        shelf: Shelf,
        hub: Hub,
        files: Files,
        inbox: Inbox,
        officers: Officers,
        show: Show,
    ) -> None:
        self.plan = plan
        self.policy = policy
        self.journal = journal
        self.shelf = shelf
        self.hub = hub
        self.files = files
        self.inbox = inbox
        self.officers = officers
        self.show = show
        self.pool = ThreadPoolExecutor(hands, thread_name_prefix="hand")
        self.waiting = Waiting(plan, policy, shelf, show, hub.alive)

    def run(self) -> list[Due]:
        """Plays what is left to play; gives back everything that was due. Raises `NotDone`."""
        for scene in self.plan.scenes:
            self.show.scene(scene.name)
            self.journal.moment(f"{scene.name}/begun")
            self.meet(scene)
            self.say(scene)
            self.submit(scene)
            if scene.name == "race":
                self.race(scene)
            else:
                self.publish(scene)
            if scene.name == "settled":
                self.waiting.rest()
                self.journal.moment("rested")
            self.waiting.arrive(scene.name)
        self.waiting.quiet()
        return self.dues()

    def close(self) -> None:
        """Lets the hands go."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def step(self, name: str, do: Callable[[], Any]) -> Any:
        """Does something once: what it brought is in the journal when it is reached again."""
        return self.journal.done[name] if name in self.journal else self.journal.keep(name, do())

    def each(self, what: str, things: Sequence[Thing], do: Callable[[Thing], Any]) -> list[Any]:
        """Does something for each of several things, many hands at once, in any order."""
        done: list[Any] = []
        for result in self.pool.map(do, things):
            done.append(result)
            self.show.progress(what, len(done), len(things))
        return done

    # ---- people --------------------------------------------------------------------------------------

    @property
    def ids(self) -> list[str]:
        """The hub's id of each person, by number."""
        return list(self.journal.done["people"])

    def meet(self, scene: Scene) -> None:
        """Makes the people known: all but the late links at first, those when it is time for them."""
        if scene.name == "weeks":
            people = self.plan.people
            self.step("people", lambda: self.each("people", people, self._meet))
        if scene.name == "opened":
            late = [person for person in self.plan.people if person.late]
            self.step("late", lambda: len(self.each("late links", late, self._link_late)))

    def _meet(self, person: Any) -> str:
        made = self.hub.participant(REACHED_BY, person.locals[REACHED_BY])
        for agency, local_id in person.locals.items():
            if agency != REACHED_BY and agency not in person.late:
                self.hub.link(REACHED_BY, made, agency, local_id)
        return made

    def _link_late(self, person: Any) -> None:
        for agency in sorted(person.late):
            self.hub.link(REACHED_BY, self.ids[person.number], agency, person.locals[agency])

    # ---- directives ----------------------------------------------------------------------------------

    def say(self, scene: Scene) -> None:
        """Hands in the scene's directives, each person's in order; the race's come with its events."""
        if scene.name == "race":
            return
        by_person: dict[int, list[Directive]] = defaultdict(list)
        for one in scene.directives:
            by_person[one.person].append(one)
        said = list(by_person.values())
        self.step(f"{scene.name}/said", lambda: len(self.each("directives", said, self._say_all)))

    def _say_all(self, directives: Iterable[Directive]) -> None:
        for one in directives:
            self._say(one)

    def _say(self, one: Directive) -> int:
        if one.id in self.journal:
            return int(self.journal.done[one.id])
        person, body = self.ids[one.person], one.body
        if body["type"] == "consent-revoked":
            said = {key: body[key] for key in ("recipients", "grants") if key in body} | {
                "participant": person
            }
            at = self.hub.revoke(one.sender, body["consent_id"], said)
        elif one.sender == "officer":
            self.officers.file(one, person)
            at = now()
        elif body["type"] == "consent-granted" and self.plan.people[one.person].profile in BY_FHIR:
            self.hub.consent(one.sender, resource(body["consent"], person, witness(one.sender)))
            at = now()
        else:
            answer = self.hub.directive(one, person)
            at = self.hub.closed(one.sender, answer["fence"]) if answer.get("fence") else now()
        return int(self.journal.keep(one.id, at))

    def submit(self, scene: Scene) -> None:
        """Hands in what comes as one: a signature, and the referral that it is for."""
        handed_in = list(scene.submissions)
        self.step(f"{scene.name}/submitted", lambda: len(self.each("submissions", handed_in, self._submit)))

    def _submit(self, one: Submission) -> None:
        directives = [as_sent(each, self.ids[one.person]) for each in one.directives]
        events = [event.cloudevent() for event in one.events]
        answer = self.hub.submit(one.id, one.directives[0].sender, directives, events)
        self._accepted(answer["events"])

    # ---- events --------------------------------------------------------------------------------------

    def publish(self, scene: Scene) -> None:
        """Publishes the scene's events, each by its agency's own way, and the bad ones among them."""
        batches = chunked(scene, "http")
        self.step(f"{scene.name}/http", lambda: sum(self.each("events", batches, self._publish)))
        alone = [event for event in scene.events if event.channel in ALONE]
        self.step(f"{scene.name}/alone", lambda: sum(self.each("events one by one", alone, self._one)))
        visits = chunked(scene, "fhir")
        self.step(f"{scene.name}/fhir", lambda: sum(self.each("visits", visits, self._publish_visits)))
        records = chunked(scene, "kafka")
        self.step(f"{scene.name}/kafka", lambda: sum(self.each("records", records, self.inbox.publish)))
        files = self.files.written(scene)
        self.step(f"{scene.name}/files", lambda: self.each("files", files, self.files.hand_in))
        if scene.name == "weeks":
            self.step("weeks/again", lambda: sum(self.each("repeats", batches, self._publish_again)))
            self.step("weeks/bad", self._publish_bad)

    def _one(self, event: Event) -> int:
        send = self.hub.binary if event.channel == "http-binary" else self.hub.single
        return self._accepted([send(event.source, event)])

    def _publish(self, events: Sequence[Event]) -> int:
        return self._accepted(self.hub.publish(events[0].source, events))

    def _publish_visits(self, events: Sequence[Event]) -> int:
        statuses = self.hub.bundle(events[0].source, batch(events))
        if statuses != ["202"] * len(events):
            raise NotDone(f"of {len(events)} visits {statuses.count('202')} were accepted")
        return len(statuses)

    def _publish_again(self, events: Sequence[Event]) -> int:
        repeated = [event.cloudevent() for event in events[::repeats_share]]
        self._accepted(self.hub.batch(events[0].source, [*repeated, conflicting(repeated[0])]))
        return len(repeated)

    def _publish_bad(self) -> dict[str, Any]:
        anchor = self.plan.anchor
        bad = refused(self.plan.people[0], anchor)
        results = self.hub.batch("reach", list(bad.values()))
        taken = [name for name, result in zip(bad, results, strict=True) if result["status"] != "rejected"]
        if taken:
            raise NotDone(f"the hub took what it must refuse: {', '.join(taken)}")
        self._accepted(self.hub.batch("harbor-house", strangers(anchor, strangers_count)))
        codes = {name: result["errors"][0]["code"] for name, result in zip(bad, results, strict=True)}
        return {"refused": codes, "strangers": strangers_count}

    def _accepted(self, results: Sequence[dict[str, Any]]) -> int:
        wrong = [result for result in results if result["status"] != "accepted"]
        if wrong:
            raise NotDone(f"the hub refused a good event: {wrong[0]['errors']}")
        return len(results)

    # ---- the race ------------------------------------------------------------------------------------

    def race(self, scene: Scene) -> None:
        """Everybody who races takes back what they gave while their events are being published."""
        self.step("race/run", lambda: len(self.each("races", self.racing(), self._race)))

    def racing(self) -> list[int]:
        """The numbers of the people who race."""
        return [person.number for person in self.plan.people if person.profile in RACING]

    def _race(self, number: int) -> None:
        scene = next(one for one in self.plan.scenes if one.name == "race")
        said = [one for one in scene.directives if one.person == number]
        told = [event for event in scene.events if event.person == number]
        dice = Random(f"{self.plan.seed}/race/{number}")
        with ThreadPoolExecutor(1) as other:
            publishing = other.submit(lambda: [self._publish([event]) for event in told])
            time.sleep(dice.random() * race_ms_max / 1000)
            self._say_all(said)
            publishing.result()

    def closed_at(self) -> dict[int, int]:
        """By person: when the hub had said that nothing raced can begin to leave any more (ms)."""
        said = [one for scene in self.plan.scenes if scene.name == "race" for one in scene.directives]
        return {one.person: int(self.journal.done[one.id]) for one in said if one.id in self.journal}

    def dues(self) -> list[Due]:
        """Everything that was due, by the moments at which the scenes began."""
        return Reckoner(self.plan, self.policy, moments(self.journal.done)).dues()


def chunked(scene: Scene, channel: str) -> list[Sequence[Event]]:
    """The scene's events of one channel, oldest first, each agency's in groups."""
    by_source: dict[str, list[Event]] = defaultdict(list)
    for event in scene.events:
        if event.channel == channel:
            by_source[event.source].append(event)
    ordered = (sorted(events, key=lambda one: one.occurred_at) for events in by_source.values())
    return [group for events in ordered for group in chunks(events, batch_events_max)]


def chunks(things: Sequence[Thing], size: int) -> list[Sequence[Thing]]:
    """The things in order, in groups of at most `size`."""
    return [things[start : start + size] for start in range(0, len(things), size)]
