"""Asking who was entered twice: what an organisation said of its own people, opened for comparing alone.

Only what the organisation itself sent is opened, and only of participants whom it knows by a number of its
own: so nobody learns what they had not said themselves. That it was asked is in the log before anything is
opened, and so is whoever is in a suggestion. Nothing is kept of what was opened, and nobody is linked.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hub import acts
from hub.appender import Appender
from hub.errors import OperatorError
from hub.linkage import LEAST, Known, Suggestion, suggest
from hub.lookup import Lookup
from hub.participants import Participants
from hub.revealing import subject
from hub.store import Store
from hub.tables import acts as acted
from hub.tables import crosswalk, decisions, merges
from hub.vault import Vault
from schemas.errors import Erased, Refused, Unsealable

PEOPLE_MAX: Final = 20_000
EVENTS_READ_MAX: Final = 3  # of one participant, the newest


class Compared(NamedTuple):
    """How many people had a name to compare, and who of them may be one."""

    people: int
    suggestions: list[Suggestion]


class LinkageMissing(OperatorError):
    """The extra that compares is not installed."""


class Suggestions:
    """Compares an organisation's people, and keeps whom somebody told apart."""

    def __init__(
        self, store: Store, vault: Vault, appender: Appender, lookup: Lookup, participants: Participants
    ) -> None:
        self._store = store
        self._vault = vault
        self._appender = appender
        self._lookup = lookup
        self._participants = participants

    def suggest(
        self,
        agency: str,
        by: str,
        least: float = LEAST,
        told: Callable[[int, int], None] = lambda done, total: None,
    ) -> Compared:
        """Who of an agency's people may be one person.

        In: who asks, for the record; the least probability; what is told how many are read, of how many.
        Raises `LinkageMissing`, `Refused` for more people than `PEOPLE_MAX`, `Unavailable`.
        """
        people = self._people(agency)
        if len(people) > PEOPLE_MAX:
            raise Refused(f"more than {PEOPLE_MAX:,} people are not compared at once", code="too-many")
        acts.access(self._appender, acts.COMPARED, by, {"agency": agency, "people": len(people)})
        known = list(self._known(agency, people, told))
        try:
            found = suggest(known, self._apart(), least)
        except ImportError:
            raise LinkageMissing(
                "what compares people is not installed", "Install the hub with its extra `linkage` (Splink)."
            ) from None
        for one in found:
            body = {"agency": agency, "probability": one.probability}
            acts.access(self._appender, acts.SUGGESTED, by, {**body, "other": one.other}, one.one)
            acts.access(self._appender, acts.SUGGESTED, by, {**body, "other": one.one}, one.other)
        return Compared(len(known), found)

    def apart(self, one: str, other: str, by: str) -> None:
        """Somebody says that they are two: they are not suggested again. Raises `Refused`, `Unavailable`."""
        if one == other:
            raise Refused("these are the same id", code="same")
        for participant in (one, other):
            if not self._participants.exists(participant):
                raise Refused("no such participant", code="not-found")
        acts.access(self._appender, acts.TOLD_APART, by, {"other": other}, one)

    def _people(self, agency: str) -> list[str]:
        query = (
            sa.select(crosswalk.c.participant)
            .where(
                crosswalk.c.agency == agency,
                crosswalk.c.offset.is_not(None),
                crosswalk.c.participant.not_in(sa.select(merges.c.absorbed)),
            )
            .distinct()
            .order_by(crosswalk.c.participant)
            .limit(PEOPLE_MAX + 1)
        )
        with self._store.read() as connection:
            return list(connection.execute(query).scalars())

    def _known(self, agency: str, people: list[str], told: Callable[[int, int], None]) -> Iterator[Known]:
        """What the agency said of each: the newest name, and the newest birth date."""
        for done, participant in enumerate(people):
            told(done, len(people))
            said: dict[str, str] = {}
            try:
                for position in self._positions(agency, participant):
                    found = subject(self._vault, self._lookup, position)
                    texts = {name: text for name, text in found.items() if isinstance(text, str) and text}
                    said = texts | said
                    if "name" in said and "birth_date" in said:
                        break
            except (Erased, Unsealable):
                continue
            if "name" in said:
                yield Known(participant, said["name"], said.get("birth_date", ""))

    def _positions(self, agency: str, participant: str) -> list[dict[str, Any]]:
        """Where the newest events of theirs stand in the log that say who it is."""
        query = (
            sa.select(decisions.c.position, decisions.c.envelope)
            .where(decisions.c.participant == participant, decisions.c.discloser == agency)
            .order_by(decisions.c.at.desc())
            .limit(EVENTS_READ_MAX)
        )
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [row.position for row in rows if "subject" in row.envelope["compartments"]]

    def _apart(self) -> list[tuple[str, str]]:
        query = sa.select(acted.c.participant, acted.c.detail).where(acted.c.what == acts.TOLD_APART)
        with self._store.read() as connection:
            return [(row.participant, row.detail["other"]) for row in connection.execute(query)]
