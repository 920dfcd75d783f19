"""Directives on their way into the log: checked whole, split into rule and person, written once.

An order is held back until a second privacy officer approves it. What is refused is recorded.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from consent import direction
from consent.entrance import read
from hub import acts, helping
from hub.appender import Appender
from hub.entrance import Sender, check
from hub.governance import Register, canonical
from hub.participants import Participants
from hub.rule import NAMES, ORDERS, Splitter, letters, refuse_idle
from hub.standing import Standing, directive_aad
from hub.store import Store, upsert
from hub.tables import requests
from hub.vault import Vault
from schemas import codec
from schemas.errors import Refused

TOPIC: Final = "consent"
WAITING_LISTED_MAX: Final = 200


class Sent(NamedTuple):
    """What became of a directive.

    `directive` is the hub's id of it, `concerns` that of the consent, restriction or order. Where it
    has no `offset` it waits for a second officer, or was rejected by one.
    """

    directive: str
    type: str
    participant: str
    state: str
    concerns: str | None
    partition: int | None
    offset: int | None
    narrows: bool
    new: bool


class Waiting(NamedTuple):
    """An order that waits for its second officer; `rule` is as it would be written."""

    directive: str
    participant: str
    asked_by: str
    at: int
    rule: dict[str, Any]
    given: dict[str, Any]


class Directives:
    """Takes directives. Each call may be repeated by the directive's id; the repeat gets the same answer."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        appender: Appender,
        participants: Participants,
        register: Callable[[], Register],
        directives_max: int = 1_000,
    ) -> None:
        """In: the store, the keys, the way to the log, who exists, the register as of now; how many
        directives about one participant there may be before one that only widens is refused.
        """
        self._store = store
        self._vault = vault
        self._appender = appender
        self._participants = participants
        self._register = register
        self._directives_max = directives_max
        self._splitter = Splitter(vault.mac)
        self._standing = Standing(store, vault)

    def send(self, sender: Sender, body: Any) -> Sent:
        """Checks a directive and writes it to `consent`; an order waits instead.

        In: the body as JSON has it. Raises `Invalid` for its form, `Refused` for what this sender may not do
        or what does not exist (recorded), `Unavailable` where the log takes nothing now (repeat then).
        """
        directive = self.checked(sender, body)
        rule, personal, concerns = self._splitter.split(sender, directive)
        row, new = self._reserve(sender, directive, concerns, canonical(body))
        if row.state != "writing":
            return _sent(row, new=False)
        if directive.type in ORDERS:
            return self._wait(sender, row, rule, personal)
        return self._write(row, rule, personal, new=new)

    def checked(self, sender: Sender, body: Any, before: int = 0) -> Any:
        """The directive, where this sender may send it now, when `before` others have been written.

        Raises as `send`; a refusal is recorded.
        """
        directive = read(body)
        into = self._participants.merged_into(directive.participant)
        exists = into is not None or self._participants.exists(directive.participant)
        try:
            self._allowed(sender, directive)
            if into is not None:
                raise Refused(
                    f"this person is known as `{into}` now; say it about that id",
                    path="/participant",
                    code="merged",
                )
            if not exists and directive.type not in NAMES:  # else as of nothing of theirs: alike, below
                raise Refused("no such participant", path="/participant", code="not-found")
            own = sender.participant is not None and not helping.is_one(sender.principal)
            refuse_idle(directive, self._register(), own=own)
            self._known(sender, directive)
            self._bounded(sender, directive, before)
        except Refused as refusal:
            acts.access(
                self._appender,
                acts.REFUSED,
                sender.principal,
                {"type": directive.type, "code": refusal.code},
                directive.participant if exists else None,
            )
            raise
        return directive

    def find(self, directive: str) -> Sent | None:
        """What became of the directive that the hub calls so."""
        row = self._row(directive)
        return _sent(row, new=False) if row else None

    def waiting(self) -> list[Waiting]:
        """The orders that wait for a second officer, oldest first."""
        query = (
            sa.select(requests)
            .where(requests.c.state == "waiting")
            .order_by(requests.c.at)
            .limit(WAITING_LISTED_MAX)
        )
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [self._opened(row) for row in rows]

    def approve(self, directive: str, officer: Sender) -> Sent:
        """A second officer approves an order: it is written. Raises `Refused` for the first one."""
        row = self._decidable(directive, officer)
        opened = self._opened(row)
        check_second(officer, opened, row.asked_by)
        acts.access(
            self._appender, "order-approved", officer.principal, {"directive": directive}, row.participant
        )
        return self._write(row, opened.rule, opened.given, new=True, decided_by=officer.principal)

    def reject(self, directive: str, officer: Sender) -> Sent:
        """An officer rejects an order: it is never written, and its text is forgotten."""
        row = self._decidable(directive, officer)
        acts.access(
            self._appender, "order-rejected", officer.principal, {"directive": directive}, row.participant
        )
        return self._settle(row, {"state": "rejected", "decided_by": officer.principal}, new=True)

    def _allowed(self, sender: Sender, directive: Any) -> None:
        """Refuses what this sender may not send."""
        standing = None
        if directive.type in ("restriction-lifted", "order-vacated"):
            _, _, concerns = self._splitter.split(sender, directive)
            standing = self._standing.term(directive.participant, concerns)
        check(directive, sender, self._register(), standing)

    def _known(self, sender: Sender, directive: Any) -> None:
        """Refuses to take back what was never given, and to replace a restriction for the participant."""
        _, _, concerns = self._splitter.split(sender, directive)
        if directive.type in NAMES and not self._standing.known(directive.participant, concerns):
            path = "/" + NAMES[directive.type][0]
            raise Refused("nothing is on record under this id", path=path, code="not-found")
        own = sender.participant is not None
        if (
            directive.type == "restriction-placed"
            and not own
            and self._standing.known(
                directive.participant, concerns, other_than=(sender.principal, directive.id)
            )
        ):
            raise Refused(
                "only the participant replaces a restriction, for it may weaken it; give this one another id",
                path="/restriction/id",
                code="conflict",
            )

    def _bounded(self, sender: Sender, directive: Any, before: int) -> None:
        """Refuses to widen what is on record without end; taking back has no bound, nor has a repeat."""
        if "narrows" in direction(directive.type):
            return
        if self._standing.count(directive.participant, (sender.principal, directive.id)) + before >= (
            self._directives_max
        ):
            raise Refused(
                f"there are {self._directives_max} directives about this participant; none is taken now that "
                "widens what may be shared, until whoever runs the hub raises `participant_directives_max`",
                path="/participant",
                code="too-many-directives",
            )

    def _reserve(
        self, sender: Sender, directive: Any, concerns: str | None, asked: bytes
    ) -> "tuple[sa.Row[Any], bool]":
        """The row of this request, and whether it is new. Raises `Refused` for an id used otherwise."""
        new = {
            "sender": sender.principal,
            "id": directive.id,
            "directive": self._named(sender, directive.id),
            "participant": directive.participant,
            "digest": self._vault.mac("requests", asked),
            "type": directive.type,
            "made": concerns,
            "state": "writing",
            "at": _now(),
        }
        mine = sa.and_(requests.c.sender == new["sender"], requests.c.id == new["id"])
        with self._store.write() as connection:
            inserted = upsert(connection, requests, [new])
            row = connection.execute(sa.select(requests).where(mine)).one()
        if row.digest != new["digest"]:
            raise Refused("this id was used for another directive", path="/id", code="conflict")
        return row, bool(inserted)

    def _named(self, sender: Sender, given: str) -> str:
        return "d-" + letters(self._vault.mac("directives", canonical([sender.principal, given])))

    def _write(
        self,
        row: "sa.Row[Any]",
        rule: dict[str, Any],
        personal: dict[str, Any],
        *,
        new: bool,
        decided_by: str | None = None,
    ) -> Sent:
        sealed = None
        if personal:
            sealer = self._vault.sealer(row.participant)
            sealed = sealer.seal(directive_aad(row.directive), canonical(personal))
        value = codec.encode(
            "Directive",
            {
                "id": row.directive,
                "participant": row.participant,
                "sender": row.sender,
                "recorded_at": _now(),
                "type": row.type,
                "body": canonical(rule),
                "sealed": sealed,
            },
        )
        place = self._appender.append(TOPIC, row.participant, value)
        changes = {
            "state": "written",
            "partition": place.partition,
            "offset": place.offset,
            "decided_by": decided_by,
            "sealed": self._standing.sealed(row.directive, row.type, rule),
        }
        return self._settle(row, changes, new=new)

    def _wait(
        self, sender: Sender, row: "sa.Row[Any]", rule: dict[str, Any], personal: dict[str, Any]
    ) -> Sent:
        text = canonical({"rule": rule, "given": personal})
        sealed = self._vault.hub("secrets").seal(directive_aad(row.directive), text)
        acts.access(
            self._appender, "order-asked", sender.principal, {"directive": row.directive}, row.participant
        )
        return self._settle(
            row, {"state": "waiting", "sealed": sealed, "asked_by": sender.principal}, new=True
        )

    def _settle(self, row: "sa.Row[Any]", changes: dict[str, Any], *, new: bool) -> Sent:
        """Notes the outcome, unless another call came first; out: what stands."""
        mine = requests.c.directive == row.directive
        with self._store.write() as connection:
            connection.execute(
                requests.update()
                .where(mine, requests.c.state == row.state)
                .values(**{"sealed": None} | changes)
            )
            return _sent(connection.execute(sa.select(requests).where(mine)).one(), new=new)

    def _decidable(self, directive: str, officer: Sender) -> "sa.Row[Any]":
        if not officer.officer:
            raise Refused("only a privacy officer decides about orders", code="role")
        row = self._row(directive)
        if row is None or row.type not in ORDERS:
            raise Refused("no such order", code="not-found")
        if row.state != "waiting":
            raise Refused("this order was decided already", code="conflict")
        return row

    def _opened(self, row: "sa.Row[Any]") -> Waiting:
        text = self._vault.hub("secrets").open(directive_aad(row.directive), row.sealed)
        held = json.loads(text)
        return Waiting(row.directive, row.participant, row.asked_by, row.at, held["rule"], held["given"])

    def _row(self, directive: str) -> "sa.Row[Any] | None":
        with self._store.read() as connection:
            return connection.execute(
                sa.select(requests).where(requests.c.directive == directive)
            ).one_or_none()


def check_second(officer: Sender, order: Waiting, asked_by: str) -> None:
    """Refuses an approval by the officer who asked, or by somebody of the recipient's."""
    if officer.principal == asked_by:
        raise Refused("an order needs a second officer", code="second-officer")
    if officer.organisation is not None and officer.organisation == order.rule.get("order", {}).get(
        "recipient"
    ):
        raise Refused("a recipient does not approve an order for itself", code="recipient")


def _sent(row: "sa.Row[Any]", *, new: bool) -> Sent:
    return Sent(
        directive=row.directive,
        type=row.type,
        participant=row.participant,
        state=row.state,
        concerns=row.made,
        partition=row.partition,
        offset=row.offset,
        narrows="narrows" in direction(row.type),
        new=new,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
