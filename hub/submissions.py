"""Submissions: directives and then events, in one; the events wait until the directives are known.

So a referral that is signed on the sidewalk is decided on what was just signed, and not a moment before.
"""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import sqlalchemy as sa

from hub.appender import Appender
from hub.directives import Directives, Sent
from hub.entrance import Sender
from hub.governance import canonical
from hub.participants import Participants
from hub.store import Store, upsert
from hub.tables import submissions
from hub.vault import Vault
from schemas import cloudevents, strict
from schemas.cloudevents import CloudEvent
from schemas.errors import HubError, Invalid, Problem, Refused

DIRECTIVES_MAX: Final = 20
EVENTS_MAX: Final = 100
ID_CHARS_MAX: Final = 128


class Kept(Protocol):
    """What is said about one event, and the record that keeps it: `connectors.intake.Taken`."""

    @property
    def answer(self) -> dict[str, Any]: ...
    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes: ...


class Taking(Protocol):
    """Accepts one event for an inbox or refuses it into quarantine: `connectors.intake.Intake.take`."""

    def __call__(
        self,
        sender: str,
        original: bytes,
        event: CloudEvent | Invalid,
        *,
        via: str,
        submission: str | None = None,
        consent_at_least: int | None = None,
    ) -> Kept: ...


class Submitted(NamedTuple):
    """What became of a submission: each directive, and the answer for each event, both in order."""

    id: str
    directives: Sequence[Sent]
    events: Sequence[dict[str, Any]]
    new: bool


class Submissions:
    """Takes submissions; repeatable by their id. `directives` takes directives that come alone."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        appender: Appender,
        participants: Participants,
        directives: Directives,
        take: Taking,
    ) -> None:
        """In: the store, the keys, the way to the log, who exists, and what takes directives and events."""
        self.directives = directives
        self._store = store
        self._vault = vault
        self._appender = appender
        self._participants = participants
        self._take = take

    def submit(self, sender: Sender, body: Any) -> Submitted:
        """Writes the directives, then the events with the consent offset that they have to wait for.

        In: `{"id", "directives": [...], "events": [...]}`, all about one participant. Nothing is written
        unless all of it may be. Raises as `Directives.send`; `Invalid` for an event that would be refused;
        `Refused` where the id was used for another one, or an event is about somebody else.
        """
        agency = sender.organisation
        if agency is None:
            raise Refused("only a registered stakeholder submits events", code="sender")
        name, asked, events = _parts(body)
        digest = self._vault.mac("submissions", canonical(body))
        answer = self._answered(sender, name, digest)
        if answer is not None:
            directives = [self._found(one) for one in answer["directives"]]
            return Submitted(name, directives, answer["events"], new=False)
        self._check(sender, agency, name, asked, events)
        self._reserve(sender, name, digest)
        written = [self.directives.send(sender, one) for one in asked]
        least = max((one.offset for one in written if one.offset is not None), default=None)
        answers = []
        for event in events:
            kept = self._taken(agency, name, event, least)
            self._appender.append(kept.topic, kept.key.decode() if kept.key else None, kept.value)
            answers.append(kept.answer)
        self._settle(sender, name, {"directives": [one.directive for one in written], "events": answers})
        return Submitted(name, written, answers, new=True)

    def _taken(self, agency: str, name: str, event: CloudEvent, least: int | None) -> Kept:
        original = cloudevents.dump(event)
        return self._take(agency, original, event, via="submission", submission=name, consent_at_least=least)

    def _check(
        self, sender: Sender, agency: str, name: str, asked: Sequence[Any], events: Sequence[CloudEvent]
    ) -> None:
        """Everything that can be known before the first record is written."""
        people = set()
        for index, one in enumerate(asked):
            with _under(f"/directives/{index}"):
                people.add(self.directives.checked(sender, one, before=index).participant)
        for index, event in enumerate(events):
            answer = self._taken(agency, name, event, None).answer
            if answer["status"] != "accepted":
                raise Invalid(
                    Problem(f"/events/{index}{one['path']}", one["code"], one["detail"])
                    for one in answer["errors"]
                )
            known = self._participants.of(agency, (event.subject or "").strip())
            if known is None or (people and known not in people):
                raise Refused(
                    "not about the participant of this submission",
                    path=f"/events/{index}/subject",
                    code="another-participant",
                )
            people.add(known)
        if len(people) > 1:
            raise Refused("a submission is about one participant", code="another-participant")

    def _answered(self, sender: Sender, name: str, digest: str) -> dict[str, Any] | None:
        """The answer that was given before, if this was all done before."""
        mine = sa.and_(submissions.c.sender == sender.principal, submissions.c.id == name)
        with self._store.read() as connection:
            row = connection.execute(sa.select(submissions).where(mine)).one_or_none()
        if row is None:
            return None
        if row.digest != digest:
            raise Refused("this id was used for another submission", path="/id", code="conflict")
        answer: dict[str, Any] | None = row.answer
        return answer

    def _reserve(self, sender: Sender, name: str, digest: str) -> None:
        """From here on the id stands for this very submission."""
        new = {"sender": sender.principal, "id": name, "digest": digest, "at": _now(), "answer": None}
        with self._store.write() as connection:
            upsert(connection, submissions, [new])
        self._answered(sender, name, digest)

    def _settle(self, sender: Sender, name: str, answer: dict[str, Any]) -> None:
        mine = sa.and_(submissions.c.sender == sender.principal, submissions.c.id == name)
        with self._store.write() as connection:
            connection.execute(submissions.update().where(mine).values(answer=answer))

    def _found(self, directive: str) -> Sent:
        sent = self.directives.find(directive)
        assert sent is not None, "a submission's directive has no request"
        return sent


class _under:  # noqa: N801 - reads as a word
    """Says of an error in a part where in the whole that part stands."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Invalid):
            raise Invalid(one._replace(path=self._path + one.path) for one in error.problems) from None
        if isinstance(error, HubError):
            error.path = self._path + error.path


def _parts(body: Any) -> tuple[str, list[Any], list[CloudEvent]]:
    """Id, directives and events of a submission. Raises `Invalid` with every event's problems."""
    strict.check(body)
    if not isinstance(body, dict):
        raise Invalid.one("", "wrong-type", "a submission is a JSON object")
    for field in body.keys() - {"id", "directives", "events"}:
        raise Invalid.one(f"/{strict.safe(field)}", "unknown-field", "there is no such field here")
    name, asked, listed = body.get("id"), body.get("directives", []), body.get("events", [])
    if not isinstance(name, str) or not 0 < len(name) <= ID_CHARS_MAX:
        raise Invalid.one("/id", "bad-id", f"an id is a text of 1 to {ID_CHARS_MAX} characters")
    for field, items, most in (("directives", asked, DIRECTIVES_MAX), ("events", listed, EVENTS_MAX)):
        if not isinstance(items, list):
            raise Invalid.one(f"/{field}", "wrong-type", "expected a list")
        if len(items) > most:
            raise Invalid.one(f"/{field}", "too-many", f"at most {most} are taken at once")
    events = []
    for index, item in enumerate(listed):
        with _under(f"/events/{index}"):
            events.append(cloudevents.parse_structured(item))
    return name, asked, events


def _now() -> int:
    return time.time_ns() // 1_000_000
