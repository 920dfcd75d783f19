"""What a stakeholder sees of an event of which some compartments are shared: the county's own account.

Everybody sees the type. Category and sender show with `activity`, `clinical` or `legal`, the time with
`occurrence`.
The person shows as the stakeholder's own number for them, never as the sender's.
"""

from __future__ import annotations

import re
from typing import Any

from examples.county.events import Event
from examples.county.expected import Share
from examples.county.fields import COMPARTMENTS
from examples.county.forms import canonical, told
from examples.county.people import PREFIX, Person

HUB = "urn:diversion-hub"
PART2_NOTICES = ["42 CFR 2.32(a)(1)", "42 CFR 2.32(a)(2)"]
TELLS_CATEGORY = {"activity", "clinical", "legal"}
LOCAL_ID = re.compile(rf"\b(?:{'|'.join(PREFIX.values())})-\d{{9}}\b")
SENDERS_EVENT = re.compile(r"\b(?:weeks|opened|after|race)-\d{4}-\d+\b")


def seen(event: Event, share: Share, person: Person, stakeholder: str, form: str) -> str:
    """What must have come, in the form in which this organisation reads it; ids made for it left out."""
    return told(sight(event, share, person, stakeholder), form)


def sight(event: Event, share: Share, person: Person, stakeholder: str) -> dict[str, Any]:
    """All that the stakeholder may see of an event, as a webhook would tell it."""
    shared = set(share.compartments)
    whole: dict[str, Any] = {
        "type": event.type,
        "source": HUB,
        "purposes": list(share.purposes),
        "obligations": list(share.obligations),
        "notices": PART2_NOTICES if "attach-part2-notice" in share.obligations else [],
        "consent_scope": [[purpose, list(parts)] for purpose, parts in share.scope],
    }
    if shared & TELLS_CATEGORY:
        whole |= {"category": event.category, "source": f"urn:agency:{event.source}"}
    if "occurrence" in shared:
        whole["time"] = event.time_as_seen
    known = person.locals.get(stakeholder)
    if "subject" in shared and known and not (stakeholder in person.late and share.scene == "weeks"):
        whole["local_id"] = known
    data = {}
    for part in shared:
        fields = {name: event.fields[name] for name in COMPARTMENTS[part] if name in event.fields}
        fields.pop("local_id", None)
        if fields:
            data[part] = fields
    return {**whole, "data": data}


def leaks(body: dict[str, Any], own: str | None) -> list[str]:
    """What is nobody's business there, in a body: other agencies' ids of people, senders' ids of events."""
    text = canonical(body)
    found = []
    if any(one != own for one in LOCAL_ID.findall(text)):
        found.append("another agency's number of a person")
    if SENDERS_EVENT.search(text):
        found.append("the sender's id of the event")
    return found
