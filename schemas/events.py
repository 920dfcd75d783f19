"""What an event must say: one of four types, a category of that type, a time, a person, and fields that fit.

There is no value anywhere that records a failure; a sender that tries one is told so. Errors name fields and
rules, never what a field said.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from schemas import compartments, fields, fitting, instant, strict
from schemas.cloudevents import CloudEvent
from schemas.errors import BadTime, Invalid, Problem

PREFIXES: Final = {
    "contact": "contact",
    "service": "service-engagement",
    "court": "court-status",
    "referral": "referral",
}
_written: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_CODES: Final = {
    "missing": "missing",
    "string_too_long": "too-long",
    "too_long": "too-many",
    "greater_than_equal": "out-of-range",
    "less_than_equal": "out-of-range",
    "finite_number": "out-of-range",
}


class Published(NamedTuple):
    """An event that says what it must. `occurred_at` in milliseconds; `compartments` as
    `compartments.split`.
    """

    id: str
    source: str
    type: str
    category: str
    labels: tuple[str, ...]
    occurred_at: int
    local_id: str
    compartments: dict[str, dict[str, Any]]


def type_of(category: str) -> str | None:
    """The event type that a category refines, or None when it refines none."""
    return PREFIXES.get(category.split(".", 1)[0])


def validate(event: CloudEvent, categories: Collection[str], labels: Collection[str]) -> Published:
    """The event, checked and sorted into compartments. `categories` and `labels` are the policy's.

    Raises `Invalid` with every problem found.
    """
    problems: list[Problem] = []
    if event.type not in fields.MODELS:
        problems.append(Problem("/type", "unknown-type", "expected one of: " + ", ".join(fields.MODELS)))
    problems += _category(event, categories)
    found_labels = _labels(event.extensions.get("labels", ""))
    if not set(labels).issuperset(found_labels):
        problems.append(Problem("/labels", "unknown-label", "expected some of: " + ", ".join(sorted(labels))))
    occurred_at = _occurred_at(event, problems)
    values = _values(event, problems) if event.type in fields.MODELS else {}
    local_id = _agreed(event.subject, values.get("local_id"), "/subject", problems)
    if occurred_at is not None and values.get("occurred_at", occurred_at) != occurred_at:
        problems.append(Problem("/data/occurred_at", "time-differs", "another instant than `time`"))
    if occurred_at is not None and values.get("ended_at", occurred_at) < occurred_at:
        problems.append(Problem("/data/ended_at", "ends-before-it-begins", "earlier than `time`"))
    if problems or occurred_at is None or local_id is None:
        raise Invalid(problems)
    values |= {"local_id": local_id, "occurred_at": occurred_at}
    return Published(
        id=event.id,
        source=event.source,
        type=event.type,
        category=event.extensions["category"],
        labels=tuple(sorted(found_labels)),
        occurred_at=occurred_at,
        local_id=local_id,
        compartments=compartments.split(event.type, values),
    )


def check(event: CloudEvent, categories: Collection[str], labels: Collection[str]) -> tuple[Problem, ...]:
    """What `validate` would find wrong, nothing where it would find nothing: for whoever asks no more."""
    if _good(event, categories, labels):
        return ()
    try:
        validate(event, categories, labels)
    except Invalid as error:
        return error.problems
    return ()


def _good(event: CloudEvent, categories: Collection[str], labels: Collection[str]) -> bool:
    """Whether an event is sure to be what it must, told quickly; where it isn't, `validate` is to look."""
    said, data = event.extensions, event.data
    category = said.get("category", "")
    subject = (event.subject or "").strip()
    if event.numeric or category not in categories or type_of(category) != event.type or not subject:
        return False
    if (given := said.get("labels")) and not set(labels).issuperset(_labels(given)):
        return False
    if not fitting.fits(event.type, data) or data.get("local_id", subject) != subject or event.time is None:
        return False
    try:
        at = instant.parse(event.time)
        return ("occurred_at" not in data or instant.parse(data["occurred_at"]) == at) and (
            "ended_at" not in data or instant.parse(data["ended_at"]) >= at
        )
    except BadTime:
        return False


def fingerprint(event: Published) -> bytes:
    """SHA-256 (32 bytes) of what an event says: tells a repeat from another event under the same id."""
    return hashlib.sha256(_written(event[2:]).encode()).digest()


def _category(event: CloudEvent, categories: Collection[str]) -> list[Problem]:
    category = event.extensions.get("category")
    if not category:
        return [Problem("/category", "missing", "an event has the extension attribute `category`")]
    if category in categories:
        if event.type in fields.MODELS and type_of(category) != event.type:
            return [Problem("/category", "category-not-of-type", "this category belongs to another type")]
        return []
    if fields.tells_failure(category):
        return [Problem("/category", fields.NO_PLACE, fields.NO_PLACE_DETAIL)]
    of_type = sorted(known for known in categories if type_of(known) == event.type)
    return [Problem("/category", "unknown-category", "expected one of: " + ", ".join(of_type or categories))]


def _labels(text: str) -> set[str]:
    return {label.strip() for label in text.split(",") if label.strip()}


def _occurred_at(event: CloudEvent, problems: list[Problem]) -> int | None:
    if event.time is None:
        problems.append(Problem("/time", "missing", "an event has a `time`: when it occurred"))
        return None
    try:
        return instant.parse(event.time)
    except BadTime as error:
        problems.append(Problem("/time", error.code, error.detail))
        return None


def _agreed(subject: str | None, local_id: str | None, path: str, problems: list[Problem]) -> str | None:
    """The person, as the sender knows them: the event's subject, which its `local_id` may only repeat."""
    found = (subject or "").strip() or local_id
    if not found:
        problems.append(
            Problem(path, "missing", "an event has a `subject`: the person, as the sender knows them")
        )
        return None
    if local_id is not None and local_id != found:
        problems.append(Problem("/data/local_id", "subject-differs", "another id than `subject`"))
    return found


def _values(event: CloudEvent, problems: list[Problem]) -> dict[str, Any]:
    model = fields.MODELS[event.type]
    try:
        found = model.model_validate(dict(event.data), context={"numeric": event.numeric})
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        problems += [_problem(detail, event.type) for detail in details]
        return {}
    return found.model_dump(exclude_none=True)


def _problem(error: Mapping[str, Any], kind: str) -> Problem:
    """A pydantic error in our words. Its own message is only taken where it can't repeat what was sent."""
    path = "/data" + "".join(
        f"/{part if isinstance(part, int) else strict.safe(part)}" for part in error["loc"]
    )
    found = error["type"]
    if found == "extra_forbidden":
        if fields.tells_failure(str(error["loc"][-1])):
            return Problem(path, fields.NO_PLACE, fields.NO_PLACE_DETAIL)
        return Problem(path, "unknown-field", f"`{kind}` has no such field")
    if "-" in found:
        return Problem(path, found, error["msg"])
    code = _CODES.get(found, "wrong-type")
    message = str(error["msg"])
    return Problem(path, code, message[:1].lower() + message[1:])
