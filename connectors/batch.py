"""A batch of a file's records on its way in: which are stored, where, and what will be said of each."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from pydantic_core import to_json

from connectors.intake import Taken
from connectors.results import Result
from connectors.rows import Row
from schemas import cloudevents, strict
from schemas.cloudevents import CloudEvent
from schemas.errors import HubError, Invalid, Problem

rows_max: Final = 500
bytes_max: Final = 4 * 1024 * 1024
where_max: Final = 5  # problems of one record that its line tells
VIA: Final = "file"

Numbered = tuple[int, Row]


class Door(Protocol):
    """What takes events in: `connectors.intake.Intake`."""

    def take_all(
        self,
        sender: str,
        items: Sequence[tuple[bytes, CloudEvent | Invalid]],
        *,
        via: str,
        reference: Callable[[int], str] | None = None,
    ) -> list[Taken]: ...

    def quarantined(
        self, sender: str, original: bytes, why: Problem, *, via: str, reference: str | None = None
    ) -> tuple[str, Taken]: ...

    async def append(self, taken: Sequence[Taken]) -> None: ...


class Kept(NamedTuple):
    """What is to be stored of a record, if anything, and what will be said about it then."""

    taken: Taken | None
    result: Result


def next_of(rows: Iterator[Numbered]) -> list[Numbered]:
    """The next rows, bounded in number and, to one row, in bytes; none at the end."""
    found: list[Numbered] = []
    size = 0
    for numbered in rows:
        found.append(numbered)
        size += numbered[1].size
        if len(found) >= rows_max or size >= bytes_max:
            break
    return found


def judged(rows: Sequence[Numbered], agency: str, door: Door, reference: Callable[[int], str]) -> list[Kept]:
    """What becomes of each record, in order. Seals: call it in a thread.

    In: under which reference a record is kept if it is refused, by its number.
    """
    mapped = [(number, row.event) for number, row in rows if row.event is not None and not row.problems]
    taken = iter(
        door.take_all(
            agency,
            [_item(event) for _, event in mapped],
            via=VIA,
            reference=lambda at: reference(mapped[at][0]),
        )
        if mapped
        else ()
    )
    kept = []
    for number, row in rows:
        if row.problems:
            named, record = door.quarantined(
                agency, row.original, row.problems[0], via=VIA, reference=reference(number)
            )
            kept.append(Kept(record, _told(row, "unreadable", row.problems, quarantine=named)))
        elif row.event is None:
            kept.append(Kept(None, Result(row.entry, row.line, "left-out")))
        else:
            kept.append(_answered(row, next(taken)))
    return kept


def _answered(row: Row, taken: Taken) -> Kept:
    answer = taken.answer
    event = answer["event"] or ""
    if not answer["errors"]:
        return Kept(taken, Result(row.entry, row.line, answer["status"], event))
    problems = [Problem(row.where(one["path"]), one["code"], one["detail"]) for one in answer["errors"]]
    return Kept(
        taken, _told(row, answer["status"], problems, event=event, quarantine=answer.get("quarantine", ""))
    )


def _told(row: Row, status: str, problems: Sequence[Problem], **more: str) -> Result:
    codes = " ".join(dict.fromkeys(one.code for one in problems))
    where = "; ".join(one.path for one in problems[:where_max])
    return Result(row.entry, row.line, status, codes=codes, where=where, **more)


def _item(event: dict[str, object]) -> tuple[bytes, CloudEvent | Invalid]:
    """A mapped event as the bytes that are kept of it, and as it is checked."""
    try:
        original = to_json(event)
    except ValueError:  # half of a surrogate pair, which a check refuses
        original = json.dumps(event, separators=(",", ":")).encode("ascii")
    size = len(original)
    try:
        if size > cloudevents.event_bytes_max:
            strict.refuse(
                "", "too-large", f"{size} bytes, an event has at most {cloudevents.event_bytes_max}"
            )
        return original, cloudevents.parse_structured(event)
    except Invalid as error:
        return original, error
    except HubError as error:
        return original, Invalid([error.problem()])
