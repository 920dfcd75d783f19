"""Who works with whom: caseloads, teams and who leads them, cover during absence. All of it acts in `work`.

`apply` is what one act means for the tables; the auditor calls it, and whoever wrote the act does so at once,
so that people see what they did. A row knows the offset of the act that set it: later ones win, in any order.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hub import acts
from hub.appender import Appender
from hub.casetables import caseloads, covers, teams
from hub.store import Store, upsert
from hub.tables import accounts
from schemas.errors import Invalid

COVER_MS_MAX: Final = 366 * 24 * 3_600_000
PEOPLE_MAX: Final = 500  # of one caseload, shown
KINDS: Final = frozenset({acts.ASSIGNED, acts.UNASSIGNED, acts.COVERED, acts.JOINED, acts.LEFT})


class Colleague(NamedTuple):
    """Somebody else of the organisation."""

    account: str
    name: str


def apply(connection: sa.Connection, work: Mapping[str, Any], offset: int) -> None:
    """What a decoded `Work` record at that offset means. Applying it again changes nothing."""
    kind, body, at = work["kind"], json.loads(work["body"]), work["at"]
    if kind in (acts.ASSIGNED, acts.UNASSIGNED):
        row = {
            "stakeholder": body["stakeholder"],
            "participant": work["participant"],
            "account": body["account"],
            "since": at,
            "until": None if kind == acts.ASSIGNED else at,
            "by": work["by"],
        }
        _set(connection, caseloads, row, offset)
    elif kind in (acts.JOINED, acts.LEFT):
        row = {name: body[name] for name in ("stakeholder", "team", "account", "lead")}
        _set(connection, teams, row | {"until": None if kind == acts.JOINED else at}, offset)
    elif kind == acts.COVERED:
        names = ("stakeholder", "account", "cover", "starts_at", "ends_at")
        _set(connection, covers, {name: body[name] for name in names}, offset)


def _set(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any], offset: int) -> None:
    key = {column.name for column in table.primary_key}
    upsert(
        connection,
        table,
        [{**row, "offset": offset}],
        update=[name for name in (*row, "offset") if name not in key],
        newer="offset",
    )


class Caseloads:
    """Reads and changes them. Times in epoch milliseconds; `by` is a principal of the log (`person:<id>`)."""

    def __init__(self, store: Store, appender: Appender, clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._appender = appender
        self._clock = clock_ms

    def assign(self, by: str, stakeholder: str, participant: str, account: str) -> None:
        """From now on they work with this person. Raises `Invalid` for nobody of theirs, `Unavailable`."""
        self._known(stakeholder, account)
        self._write(acts.ASSIGNED, by, participant, account, {"stakeholder": stakeholder, "account": account})

    def unassign(self, by: str, stakeholder: str, participant: str, account: str) -> None:
        """From now on they don't. Raises `Unavailable`."""
        body = {"stakeholder": stakeholder, "account": account}
        self._write(acts.UNASSIGNED, by, participant, account, body)

    def hand_over(self, by: str, stakeholder: str, participant: str, giver: str, taker: str) -> None:
        """One after the other, the new one first, so that nobody is with nobody in between."""
        self.assign(by, stakeholder, participant, taker)
        self.unassign(by, stakeholder, participant, giver)

    def cover(
        self, by: str, stakeholder: str, account: str, cover: str, starts_at: int, ends_at: int
    ) -> None:
        """Let somebody see another's caseload from `starts_at` to `ends_at`; the same twice ends it.

        Raises `Invalid` for longer than `COVER_MS_MAX` or nobody of theirs, `Unavailable`.
        """
        if account == cover:
            raise Invalid.one("/cover", "cover", "nobody covers for themselves")
        if ends_at - starts_at > COVER_MS_MAX:
            raise Invalid.one("/ends_at", "too-long", "cover lasts a year at most: assign the people instead")
        self._known(stakeholder, account)
        self._known(stakeholder, cover)
        times = {"starts_at": starts_at, "ends_at": ends_at}
        body = {"stakeholder": stakeholder, "account": account, "cover": cover, **times}
        self._write(acts.COVERED, by, "", f"account:{account}", body)

    def join(self, by: str, stakeholder: str, team: str, account: str, *, lead: bool = False) -> None:
        """They are of this team; who leads sees what escalates. Raises `Invalid`, `Unavailable`."""
        self._known(stakeholder, account)
        if not 0 < len(team) <= 60 or not team.isprintable():
            raise Invalid.one("/team", "team", "a team's name is 1 to 60 characters")
        body = {"stakeholder": stakeholder, "team": team, "account": account, "lead": lead}
        self._write(acts.JOINED, by, "", f"account:{account}", body)

    def leave(self, by: str, stakeholder: str, team: str, account: str) -> None:
        """They are no longer. Raises `Unavailable`."""
        body = {"stakeholder": stakeholder, "team": team, "account": account, "lead": False}
        self._write(acts.LEFT, by, "", f"account:{account}", body)

    def people(self, stakeholder: str, account: str) -> list[str]:
        """The participants they work with or cover, at most `PEOPLE_MAX`."""
        query = mine(stakeholder, account, self._clock()).order_by(caseloads.c.participant).limit(PEOPLE_MAX)
        with self._store.read() as connection:
            return list(connection.execute(query.distinct()).scalars())

    def leads(self, stakeholder: str, account: str) -> bool:
        """Whether they lead a team; where nobody does, everybody may do what those would."""
        with self._store.read() as connection:
            found = set(connection.execute(leaders(stakeholder)).scalars())
        return not found or account in found

    def colleagues(self, stakeholder: str, account: str) -> list[Colleague]:
        """The others of the organisation who work with people, by name."""
        query = (
            sa.select(accounts.c.id, accounts.c.name)
            .where(
                accounts.c.stakeholder == stakeholder,
                accounts.c.role == "case-manager",
                accounts.c.id != account,
                accounts.c.disabled_at.is_(None),
            )
            .order_by(accounts.c.name, accounts.c.id)
        )
        with self._store.read() as connection:
            return [Colleague(*row) for row in connection.execute(query)]

    def _known(self, stakeholder: str, account: str) -> None:
        if all(one.account != account for one in self.colleagues(stakeholder, "")):
            raise Invalid.one(
                "/account", "no-such-account", "no case manager of that organization has this account"
            )

    def _write(self, kind: str, by: str, participant: str, about: str, body: Mapping[str, Any]) -> None:
        at = self._clock()
        work = acts.did(kind, by, participant, f"{about}/{at}", body, at)
        place = acts.write(self._appender, work, participant or about)
        with self._store.write() as connection:
            apply(connection, work, place.offset)


def standing(stakeholder: str) -> sa.ColumnElement[bool]:
    """Of `caseloads`: those of an organisation that last."""
    return sa.and_(caseloads.c.stakeholder == stakeholder, caseloads.c.until.is_(None))


def of_anybody() -> sa.ColumnElement[bool]:
    """Of `caseloads`: those of all organisations that last."""
    return caseloads.c.until.is_(None)


def away(stakeholder: str, account: str, now_ms: int) -> sa.Select[Any]:
    """Those for whom somebody covers now."""
    return sa.select(covers.c.account).where(
        covers.c.stakeholder == stakeholder,
        covers.c.cover == account,
        covers.c.starts_at <= now_ms,
        covers.c.ends_at > now_ms,
    )


def mine(stakeholder: str, account: str, now_ms: int) -> sa.Select[Any]:
    """Those with whom somebody works now, or for whom they cover."""
    covered = caseloads.c.account.in_(away(stakeholder, account, now_ms))
    theirs = sa.or_(caseloads.c.account == account, covered)
    return sa.select(caseloads.c.participant).where(standing(stakeholder), theirs)


def of_teams(stakeholder: str, account: str, *, led: bool) -> sa.Select[Any]:
    """Those with whom anybody works who is in a team of somebody's, or in one that they lead."""
    own = sa.select(teams.c.team).where(
        teams.c.stakeholder == stakeholder, teams.c.account == account, teams.c.until.is_(None)
    )
    if led:
        own = own.where(teams.c.lead)
    mates = sa.select(teams.c.account).where(
        teams.c.stakeholder == stakeholder, teams.c.team.in_(own), teams.c.until.is_(None)
    )
    return sa.select(caseloads.c.participant).where(standing(stakeholder), caseloads.c.account.in_(mates))


def leaders(stakeholder: str) -> sa.Select[Any]:
    """Those who lead a team there."""
    return sa.select(teams.c.account).where(
        teams.c.stakeholder == stakeholder, teams.c.lead, teams.c.until.is_(None)
    )
