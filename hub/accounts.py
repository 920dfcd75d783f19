"""Who may sign in, and as what: by name (`hub person add`), or by the groups of the sign-in service.

A name wins over groups, and who was removed stays out whatever the groups say. Who is in no group that means
something here is refused; so is who is in two that mean different things.
"""

import base64
import hashlib
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

import sqlalchemy as sa

from hub.doors import Group
from hub.errors import OperatorError
from hub.sessions import Account, Role
from hub.store import Store, upsert
from hub.tables import accounts, sessions
from hub.vouched import SignInFailed, Vouched

ROLES: Final = ("case-manager", "privacy-officer", "operator")
LISTED_MAX: Final = 10_000


class BadAccount(OperatorError):
    """An account was described in a way that cannot be."""

    exit_status = 2


class Listed(NamedTuple):
    """An account as `hub person list` shows it. Times in epoch milliseconds."""

    id: str
    role: str
    name: str
    stakeholder: str | None
    subject: str | None
    named: bool
    demo: bool
    disabled_at: int | None
    sessions: int


def named(connection: sa.Connection, wanted: Iterable[str]) -> dict[str, str]:
    """What the people of some accounts are called; of those that there are."""
    query = sa.select(accounts.c.id, accounts.c.name).where(accounts.c.id.in_(list(wanted)))
    return {row.id: row.name for row in connection.execute(query)}


class Accounts:
    """The accounts of people whom the provider vouches for."""

    def __init__(self, store: Store, groups: Sequence[Group] = ()) -> None:
        """In: the store, and which group is which role."""
        self._store = store
        self._groups = groups

    def admit(self, who: Vouched) -> Account:
        """The account of whom the provider vouches for, as of now; by groups it is made at the first time.

        Raises `SignInFailed` for who may not come in; their sessions end then.
        """
        theirs = sa.and_(accounts.c.issuer == who.issuer, accounts.c.subject == who.subject)
        with self._store.read() as connection:
            row = connection.execute(sa.select(accounts).where(theirs)).one_or_none()
        if row is not None and row.disabled_at is not None:
            raise SignInFailed("this account was removed", code="removed")
        if row is not None and row.named:
            return Account(row.id, cast(Role, row.role), row.name, row.stakeholder)
        try:
            role, stakeholder = self._meaning(who)
        except SignInFailed:
            if row is not None:
                self._end(row.id)
            raise
        name = who.name or (row.name if row is not None else "")
        made = Account(row.id if row is not None else _id(who), cast(Role, role), name or "?", stakeholder)
        if row is not None and (row.role, row.stakeholder) != (role, stakeholder):
            self._end(row.id)  # what they were let in for is theirs no more
        self._keep(made, who.issuer, who.subject, named=False)
        return made

    def add(self, account: Account, issuer: str, subject: str) -> None:
        """Let somebody in by name, or change as what; sessions that were open end.

        Raises `BadAccount` where the subject is another account's, or the account a demonstration's.
        """
        with self._store.read() as connection:
            rows = connection.execute(
                sa.select(accounts).where(
                    sa.or_(
                        accounts.c.id == account.id,
                        sa.and_(accounts.c.issuer == issuer, accounts.c.subject == subject),
                    )
                )
            ).all()
        for row in rows:
            if row.demo:
                raise BadAccount(f"`{row.id}` is an account of the demonstration", "Choose another id.")
            if row.id != account.id:
                raise BadAccount(
                    f"this subject is `{row.id}` already", f"Change that one: `hub person add {row.id} …`."
                )
            if (row.issuer, row.subject) != (issuer, subject):
                raise BadAccount(f"`{row.id}` is somebody else", "An id is never given to a second person.")
            self._end(row.id)
        self._keep(account, issuer, subject, named=True)

    def remove(self, account: str) -> int:
        """Nobody signs in by this account any more. Out: how many sessions ended. Raises `BadAccount`."""
        mine = sa.and_(accounts.c.id == account, ~accounts.c.demo)
        with self._store.write() as connection:
            found = connection.execute(accounts.update().where(mine).values(disabled_at=_now())).rowcount
        if not found:
            raise BadAccount(f"nobody is called `{account}`", "See `hub person list`.")
        return self._end(account)

    def listed(self) -> list[Listed]:
        """Every account, in the order of ids."""
        open_now = (
            sa.select(sa.func.count())
            .where(sessions.c.account == accounts.c.id, sessions.c.expires_at > _now())
            .scalar_subquery()
        )
        columns = [accounts.c[name] for name in Listed._fields if name != "sessions"]
        query = sa.select(*columns, open_now).order_by(accounts.c.id).limit(LISTED_MAX)
        with self._store.read() as connection:
            return [Listed._make(row) for row in connection.execute(query)]

    def _meaning(self, who: Vouched) -> tuple[str, str | None]:
        found = {(one.role, one.stakeholder) for one in self._groups if one.group in who.groups}
        if not found:
            raise SignInFailed("nobody let this person in", code="unknown-person")
        if len(found) > 1:
            raise SignInFailed("their groups mean more than one thing here", code="ambiguous-groups")
        return found.pop()

    def _keep(self, account: Account, issuer: str, subject: str, *, named: bool) -> None:
        row: dict[str, Any] = {
            **account._asdict(),
            "password": None,
            "demo": False,
            "created_at": _now(),
            "disabled_at": None,
            "issuer": issuer,
            "subject": subject,
            "named": named,
        }
        change = ("stakeholder", "role", "name", "named", "disabled_at")
        with self._store.write() as connection:
            upsert(connection, accounts, [row], update=change)

    def _end(self, account: str) -> int:
        with self._store.write() as connection:
            return connection.execute(sessions.delete().where(sessions.c.account == account)).rowcount


def _id(who: Vouched) -> str:
    """The same for the same person, and says nothing about them."""
    known = hashlib.sha256(f"{who.issuer}\0{who.subject}".encode()).digest()
    return "u-" + base64.b32encode(known)[:20].decode().lower()


def _now() -> int:
    return time.time_ns() // 1_000_000
