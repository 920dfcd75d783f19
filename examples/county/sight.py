"""What a stakeholder sees of an event of which some compartments are shared: the county's own account.

Everybody sees the type. Category and sender show with `activity`, `clinical` or `legal`, the time with
`occurrence`.
The person shows as the stakeholder's own number for them, never as the sender's.
"""

from __future__ import annotations

import json
import re
from typing import Any

from examples.county.events import Event
from examples.county.expected import Share
from examples.county.fields import COMPARTMENTS
from examples.county.people import PREFIX, Person

HUB = "urn:diversion-hub"
MADE_FOR_RECIPIENT = {"id", "participant"}
PART2_NOTICES = ["42 CFR 2.32(a)(1)", "42 CFR 2.32(a)(2)"]
TELLS_CATEGORY = {"activity", "clinical", "legal"}
LOCAL_ID = re.compile(rf"\b(?:{'|'.join(PREFIX.values())})-\d{{9}}\b")
SENDERS_EVENT = re.compile(r"\b(?:weeks|opened|after|race)-\d{4}-\d+\b")


def seen(event: Event, share: Share, person: Person, stakeholder: str) -> str:
    """What must have been in the delivery's body, as canonical JSON; ids made for the recipient left out."""
    shared = set(share.compartments)
    sight: dict[str, Any] = {
        "type": event.type,
        "source": HUB,
        "purposes": list(share.purposes),
        "obligations": list(share.obligations),
        "notices": PART2_NOTICES if "attach-part2-notice" in share.obligations else [],
        "consent_scope": [[purpose, list(parts)] for purpose, parts in share.scope],
    }
    if shared & TELLS_CATEGORY:
        sight |= {"category": event.category, "source": f"urn:agency:{event.source}"}
    if "occurrence" in shared:
        sight["time"] = event.time_as_seen
    known = person.locals.get(stakeholder)
    if "subject" in shared and known and not (stakeholder in person.late and share.scene == "weeks"):
        sight["local_id"] = known
    data = {}
    for part in shared:
        told = {name: event.fields[name] for name in COMPARTMENTS[part] if name in event.fields}
        told.pop("local_id", None)
        if told:
            data[part] = told
    sight["data"] = data
    return canonical(sight)


def canonical(value: Any) -> str:
    """JSON with one spelling only; a whole number is one, however it was written."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def leaks(body: dict[str, Any], own: str | None) -> list[str]:
    """What is nobody's business there, in a body: other agencies' ids of people, senders' ids of events."""
    text = canonical(body)
    found = []
    if any(one != own for one in LOCAL_ID.findall(text)):
        found.append("another agency's number of a person")
    if SENDERS_EVENT.search(text):
        found.append("the sender's id of the event")
    return found


def arrived(body: dict[str, Any]) -> str:
    """A delivery's body in the same canonical form as `seen`, so that the two can be held together."""
    sight = {name: value for name, value in body.items() if name not in MADE_FOR_RECIPIENT}
    sight["notices"] = [one["citation"] for one in body["notices"]]
    sight["consent_scope"] = sorted([one["purpose"], one["compartments"]] for one in body["consent_scope"])
    return canonical(sight)
