"""What senders say in an event besides whom and when: by its kind, made up by dice."""

from __future__ import annotations

from random import Random
from typing import Any

from examples.county.calendar import DAY_MS, HOUR_MS, local_clock, noon, rfc3339
from examples.county.people import Person

PLACES = (
    "Pier 4 underpass",
    "Cedar Street library",
    "Third Avenue bus hub",
    "Old cannery lot",
    "Harbor steps",
    "Millrace park",
)
STAFF = ("J. Okafor", "M. Lindqvist", "T. Reyes", "A. Bellweather")
NEEDS = ("dry socks", "a phone charger", "an ID card", "a bus pass", "insulin", "storage for belongings")
LIVING = {
    "116": "A place not meant for habitation",
    "118": "Safe haven",
    "302": "Transitional housing",
    "336": "A friend's home",
}
HEARINGS = {"SET": "set", "RESET": "moved", "STRICKEN": "cancelled", "HELD": "held"}


def outreach(dice: Random) -> dict[str, Any]:
    """An outreach contact, as an HMIS export can say it."""
    where, more = dice.choice(list(LIVING.values())), dice.choice(PLACES)
    return {
        "phase": "outreach",
        "staff": f"U{dice.randrange(10, 99)}",
        "place": {"description": f"{where}: {more}"},
    }


def stay(category: str, moment: int, dice: Random) -> dict[str, Any]:
    """A stay in jail as its roster has it: to the second, with its beginning also when it is over."""
    booked = moment if category == "contact.custody-booking" else local_clock(moment - DAY_MS)
    stay: dict[str, Any] = {
        "facility": "County Jail",
        "booking_number": f"B{dice.randrange(10**6):06d}",
        "booked_at": rfc3339(booked),
        "place": {"district": str(dice.randrange(1, 8))},
        "needs": dice.choice((["medication"], ["withdrawal care", "medical care"])),
    }
    return stay | ({"released_at": rfc3339(moment)} if booked != moment else {})


def hearing(person: Person, moment: int, dice: Random) -> dict[str, Any]:
    """A hearing, as a docket says it."""
    at = noon(moment + dice.randrange(7, 40) * DAY_MS)
    return {
        "court": "Municipal Court",
        "case_number": f"26-{person.number:05d}",
        "hearing": {
            "id": f"H{dice.randrange(10**7):07d}",
            "status": dice.choice(list(HEARINGS.values())),
            "at": rfc3339(at),
            "kind": dice.choice(("review", "arraignment", "pre-trial")),
            "room": dice.choice(("1A", "2C", "301")),
        },
    }


def details(category: str, person: Person, moment: int, dice: Random) -> dict[str, Any]:
    """What a category's events say, told over HTTP or Kafka."""
    kind, _, refined = category.partition(".")
    if kind == "contact":
        return _contact(refined, person, dice)
    if kind == "service":
        return _service(refined, dice)
    if kind == "court":
        return court(refined, person, dice)
    door = {"arrest-diversion": "arrest diversion", "social-contact": "social contact"}.get(
        refined, "community"
    )
    return {
        "door": door,
        "referred_by": dice.choice(STAFF),
        "handoff_due_at": rfc3339(moment + 2 * HOUR_MS),
        "harm": "A broken shop window; the owner was frightened.",
        "engaged": True,
        "phase": "outreach",
    }


def _contact(refined: str, person: Person, dice: Random) -> dict[str, Any]:
    details: dict[str, Any] = {"mode": dice.choice(("in person", "phone", "message"))}
    details |= {"staff": dice.choice(STAFF), "needs": sorted(dice.sample(NEEDS, 2))}
    if refined == "crisis":
        details["crisis_level"] = dice.choice(("moderate", "high"))
    elif refined == "overdose":
        details["overdose_reversed"] = True
    else:
        details |= {
            "engaged": True,
            "phase": "active",
            "gender": person.gender,
            "race_ethnicity": person.race_ethnicity,
        }
    return details


def _service(refined: str, dice: Random) -> dict[str, Any]:
    details: dict[str, Any] = {
        "program": f"{refined} {dice.choice(('north', 'south'))}",
        "service_code": f"S{dice.randrange(100, 999)}",
        "step": dice.choice(("offered", "accepted", "started", "ongoing", "paused", "completed")),
        "units": dice.randrange(1, 9),
        "engaged": True,
        "phase": dice.choice(("intake", "active")),
    }
    if refined in ("substance-use", "mental-health", "medical"):
        code = dice.choice(
            (("F11.20", "Opioid dependence"), ("F32.1", "Depressive episode"), ("Z21", "Carrier"))
        )
        details["codes"] = [
            {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code[0], "display": code[1]}
        ]
        details["medication"] = dice.choice(("buprenorphine", "sertraline", "none"))
    return details


def court(refined: str, person: Person, dice: Random) -> dict[str, Any]:
    """What else comes from courts."""
    details: dict[str, Any] = {"court": "Municipal Court", "case_number": f"26-{person.number:05d}"}
    if refined == "warrant":
        details["warrant"] = {"number": f"W{dice.randrange(10**6):06d}", "status": "issued"}
    elif refined == "charge":
        details["charge"] = {"statute": "9A.52.070", "description": "trespass", "severity": "misdemeanor"}
    else:
        details["disposition"] = "dismissed on completion of the program"
    return details
