"""The whole play, worked out beforehand from a seed and an anchor in time: the same when it is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from examples.county.agencies import Agency, agencies
from examples.county.consents import PROFILES, wishes
from examples.county.events import AFTER, RACE, SIDEWALK, WEEKS, Event, told
from examples.county.people import Person, people
from examples.county.wishes import SCENES, Directive

RACING = frozenset({"races", "races-a-party"})
NARROWS = frozenset({"consent-revoked", "restriction-placed", "program-exited"})


@dataclass(frozen=True)
class Submission:
    """Directives and the events that came with them, handed in as one."""

    id: str
    person: int
    directives: tuple[Directive, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Scene:
    """One part of the play: what is said first, what comes as one, and what is then published."""

    name: str
    directives: tuple[Directive, ...]
    submissions: tuple[Submission, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that will happen, in order. `anchor` is the play's beginning, in milliseconds since 1970."""

    seed: int
    anchor: int
    people: tuple[Person, ...]
    agencies: dict[str, Agency]
    scenes: tuple[Scene, ...]

    def events(self) -> Iterator[tuple[str, Event]]:
        """Every event with the scene in which the hub comes to know whom it is about."""
        for scene in self.scenes:
            for event in scene.events:
                late = event.source in self.people[event.person].late and scene.name == "weeks"
                yield ("opened" if late else scene.name), event
            for submission in scene.submissions:
                yield from ((scene.name, event) for event in submission.events)

    def directives(self) -> Iterator[tuple[str, Directive]]:
        """Every directive with its scene, in the order in which they are said."""
        for scene in self.scenes:
            yield from ((scene.name, one) for one in scene.directives)
            for submission in scene.submissions:
                yield from ((scene.name, one) for one in submission.directives)


def plan(seed: int, anchor: int, count: int) -> Plan:
    """The play of `count` people for a seed, its times counted from `anchor` (milliseconds since 1970)."""
    everybody = people(seed, count, tuple(PROFILES))
    spoken = wishes(everybody, anchor)
    scenes = []
    for name in SCENES:
        directives: list[Directive] = []
        submissions = []
        for wish in spoken:
            said = wish.said.get(name, [])
            if wish.person.profile == "signs-on-the-sidewalk" and said:
                along = tuple(told(wish.person, name, SIDEWALK, seed, anchor))
                submissions.append(Submission(f"s-{wish.person.key}", wish.person.number, tuple(said), along))
            else:
                directives += said
        published = tuple(event for person in everybody for event in _published(person, name, seed, anchor))
        scenes.append(Scene(name, tuple(directives), tuple(submissions), published))
    return Plan(seed, anchor, tuple(everybody), agencies(anchor), tuple(scenes))


def _published(person: Person, scene: str, seed: int, anchor: int) -> Iterator[Event]:
    if scene == "race" and person.profile not in RACING:
        return
    habits = {"weeks": WEEKS, "after": AFTER, "race": RACE}.get(scene, ())
    yield from told(person, scene, habits, seed, anchor)
