"""What happens to the invented people in some weeks, as their agencies would tell of it.

An event here is what its sender sends, before the hub sees it. Every event of the county has an instant of
its own, so that two of them never look alike to who may see when they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from examples.county.agencies import Agency
from examples.county.calendar import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, local_clock, noon, rfc3339
from examples.county.details import PLACES, court, details, hearing, outreach, stay
from examples.county.people import Person

REQUESTS = ("offered", "paused", "completed")
VISITS = ("offered", "started", "ongoing", "paused", "completed")
NARRATIVES = ("Asked about the winter beds.", "Wants to call a sister.", "Was in good spirits.")
CHANNELS = {
    "http": "HTTP, in batches",
    "http-single": "HTTP, one by one",
    "http-binary": "HTTP, binary mode",
    "kafka": "Kafka, `inbox.<id>`",
    "fhir": "FHIR, Encounters and ServiceRequests",
    "hmis": "watched folder, HMIS export",
    "docket": "watched folder, court docket",
    "niem": "watched folder, NIEM XML",
    "roster": "SFTP account, jail roster",
}


@dataclass(frozen=True)
class Event:
    """One event as its sender tells it.

    `fields` are the data, `occurred_at` is in milliseconds, `channel` one of `CHANNELS`.
    """

    id: str
    person: int
    source: str
    category: str
    labels: tuple[str, ...]
    occurred_at: int
    fields: dict[str, Any]
    channel: str = "http"

    @property
    def type(self) -> str:
        """The type that the category refines."""
        root = self.category.partition(".")[0]
        return {"service": "service-engagement", "court": "court-status"}.get(root, root)

    @property
    def time_as_seen(self) -> str:
        """The time in the text that recipients get."""
        return rfc3339(self.occurred_at)

    def effective_labels(self, sources: dict[str, Agency]) -> tuple[str, ...]:
        """The labels that count: the sender's, and `part2` where its program or the service asks it."""
        strict = sources[self.source].part2 or self.category == "service.substance-use"
        return tuple(sorted({*self.labels, *(["part2"] if strict else [])}))

    def cloudevent(self) -> dict[str, Any]:
        """The event in CloudEvents' structured JSON."""
        told: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": f"urn:agency:{self.source}",
            "type": self.type,
            "category": self.category,
            "subject": self.fields["local_id"],
            "time": rfc3339(self.occurred_at),
            "datacontenttype": "application/json",
            "data": self.fields,
        }
        if self.labels:
            told["labels"] = ",".join(self.labels)
        return told


@dataclass(frozen=True)
class Habit:
    """A kind of event: who tells it, its category, the labels it may carry, and how often it happens."""

    source: str
    category: str
    often: float = 1.0
    labels: tuple[str, ...] = ()
    channel: str = "http"


WEEKS = (
    Habit("reach", "contact.outreach", 1.0, channel="hmis"),
    Habit("reach", "contact.outreach", 0.6, channel="hmis"),
    Habit("reach", "contact.case-management", 0.7),
    Habit("harbor-house", "service.housing"),
    Habit("harbor-house", "service.basic-needs", 0.4),
    Habit("harbor-house", "service.benefits", 0.3),
    Habit("tideline-clinic", "service.substance-use", 0.8),
    Habit("tideline-clinic", "service.mental-health", 0.4, ("mental-health",), channel="fhir"),
    Habit("tideline-clinic", "service.mental-health", 0.2, ("mental-health", "counselling-notes")),
    Habit("tideline-clinic", "service.medical", 0.3, ("hiv",), channel="fhir"),
    Habit("county-ems", "contact.crisis", 0.3, ("mental-health",), channel="kafka"),
    Habit("county-ems", "contact.overdose", 0.3, channel="kafka"),
    Habit("harbor-pd", "contact.law-enforcement", 0.6),
    Habit("harbor-pd", "court.warrant", 0.3, channel="http-single"),
    Habit("harbor-pd", "referral.arrest-diversion", 0.5),
    Habit("downtown-bia", "referral.social-contact", 0.3),
    Habit("waterfront-council", "referral.community", 0.2),
    Habit("county-jail", "contact.custody-booking", 0.3, channel="roster"),
    Habit("county-jail", "contact.custody-release", 0.3, channel="roster"),
    Habit("municipal-court", "court.hearing", 0.9, channel="docket"),
    Habit("municipal-court", "court.disposition", 0.2),
    Habit("city-attorney", "court.charge", 0.5, channel="niem"),
    Habit("public-defense", "service.legal-aid", 0.3, channel="http-binary"),
)
AFTER = (
    Habit("reach", "contact.case-management"),
    Habit("harbor-house", "service.housing"),
    Habit("tideline-clinic", "service.substance-use", 0.5),
    Habit("county-jail", "contact.custody-booking", 0.4, channel="roster"),
    Habit("municipal-court", "court.hearing", 0.6, channel="docket"),
)
RACE = (
    Habit("reach", "contact.case-management"),
    Habit("harbor-house", "service.housing"),
    Habit("tideline-clinic", "service.substance-use"),
    Habit("municipal-court", "court.disposition"),
    Habit("harbor-pd", "referral.arrest-diversion"),
)
SIDEWALK = (Habit("harbor-house", "referral.social-contact"),)
# What each profile's story needs, whatever the dice say.
ALWAYS = {
    "ordered": ("court.hearing", "contact.law-enforcement"),
    "in-danger": ("contact.overdose", "contact.crisis"),
    "notes-by-name": ("service.mental-health",),
    "never-hiv": ("service.medical", "contact.crisis"),
    "for-the-court": ("court.hearing", "service.legal-aid"),
    "unknown-at-first": ("service.housing", "court.hearing"),
    "broad": ("contact.custody-booking", "contact.overdose"),
}


def told(person: Person, scene: str, habits: tuple[Habit, ...], seed: int, anchor: int) -> Iterator[Event]:
    """The events of one person in one scene; the same for the same seed. `anchor` is now, in milliseconds."""
    dice = Random(f"{seed}/{scene}/{person.number}")
    for number, habit in enumerate(habits):
        wanted = dice.random() < habit.often or habit.category in ALWAYS.get(person.profile, ())
        ago = dice.randrange(2 * DAY_MS, 42 * DAY_MS) if scene == "weeks" else dice.randrange(HOUR_MS, DAY_MS)
        if wanted:
            # The seconds number the people and the milliseconds their events: no two instants are the same.
            minute = (anchor - ago) // (10 * MINUTE_MS) * (10 * MINUTE_MS)
            moment = minute + person.number * 1000 + number * 20 + SCENE_MS.get(scene, 0)
            yield _event(person, f"{scene}-{person.key}-{number}", habit, moment, dice)


SCENE_MS = {"weeks": 0, "after": 500, "race": 700, "opened": 900}


def _event(person: Person, identity: str, habit: Habit, moment: int, dice: Random) -> Event:
    fields: dict[str, Any] = {"local_id": person.locals[habit.source]}
    if habit.channel == "hmis":
        moment = noon(moment)
        fields["occurred_at"] = rfc3339(moment)
        fields |= outreach(dice)
    elif habit.channel == "docket":
        moment = local_clock(moment)
        fields |= {"name": person.name, "birth_date": person.birth_date, "occurred_at": rfc3339(moment)}
        fields |= hearing(person, moment, dice)
    elif habit.channel == "niem":
        fields |= {"name": person.name, "birth_date": person.birth_date, "occurred_at": rfc3339(moment)}
        fields |= court("charge", person, dice)
    elif habit.channel == "fhir":
        steps = VISITS if habit.category == "service.medical" else REQUESTS
        fields |= {"occurred_at": rfc3339(moment), "provider": "Tideline Clinic"}
        fields |= {"service_code": f"S{dice.randrange(100, 999)}", "step": dice.choice(steps)}
    elif habit.channel == "roster":
        moment = local_clock(moment // SECOND_MS * SECOND_MS)
        fields |= {"name": person.name, "birth_date": person.birth_date, "occurred_at": rfc3339(moment)}
        fields |= stay(habit.category, moment, dice)
    else:
        fields |= {"name": person.name, "birth_date": person.birth_date, "occurred_at": rfc3339(moment)}
        fields["place"] = {"description": dice.choice(PLACES), "district": str(dice.randrange(1, 8))}
        fields["narrative"] = dice.choice(NARRATIVES)
        fields |= details(habit.category, person, moment, dice)
    return Event(
        identity, person.number, habit.source, habit.category, habit.labels, moment, fields, habit.channel
    )
