"""What stands under an id of a participant: whether there is such a thing, and the terms it was given in."""

import json
from typing import Any, Final

import sqlalchemy as sa

from consent.terms import Order, Restriction
from hub.governance import canonical
from hub.store import Store
from hub.tables import directives, requests
from hub.vault import Vault

PLACING: Final = ("restriction-placed", "order-filed")  # what another directive takes away again


def directive_aad(directive: str) -> bytes:
    """Associated data of what is sealed about a directive."""
    return b"directive\0" + directive.encode()


class Standing:
    """Asks what was taken in here first, then what the log had when it was last read."""

    def __init__(self, store: Store, vault: Vault) -> None:
        """In: the store, and the keys under which the rules of what stands are kept."""
        self._store = store
        self._vault = vault

    def sealed(self, directive: str, type_: str, rule: dict[str, Any]) -> bytes | None:
        """The rule of what may have to be looked at when it is taken away; None for all else."""
        if type_ not in PLACING:
            return None
        return self._vault.hub("secrets").seal(directive_aad(directive), canonical({"rule": rule}))

    def known(
        self, participant: str, concerns: str | None, other_than: tuple[str, str] | None = None
    ) -> bool:
        """Whether anything is on record, or on its way there, under this id.

        With `other_than`, a request's sender and id: whether another request than this asked for it.
        """
        asked = sa.select(requests.c.sender, requests.c.id).where(
            requests.c.participant == participant, requests.c.made == concerns
        )
        logged = sa.select(sa.literal(1)).where(
            directives.c.participant == participant, directives.c.concerns == concerns
        )
        with self._store.read() as connection:
            rows = {tuple(row) for row in connection.execute(asked)}
            if other_than is not None:
                return bool(rows - {other_than})
            return bool(rows) or connection.execute(logged.limit(1)).scalar() is not None

    def count(self, participant: str, new: tuple[str, str]) -> int:
        """How many directives there are about a participant, as far as is known here.

        In: the sender and the id of the one that asks; 0 where that was taken before.
        """
        mine = sa.and_(requests.c.sender == new[0], requests.c.id == new[1])
        asked, logged = (
            sa.select(sa.func.count()).select_from(table).where(table.c.participant == participant)
            for table in (requests, directives)
        )
        with self._store.read() as connection:
            if connection.execute(sa.select(requests.c.id).where(mine)).one_or_none() is not None:
                return 0
            return max(connection.execute(query).scalar_one() for query in (asked, logged))

    def term(self, participant: str, concerns: str | None) -> Restriction | Order | None:
        """The restriction or order under this id, as it was last written; None where there is none."""
        asked = (
            sa.select(requests.c.directive, requests.c.sealed)
            .where(
                requests.c.participant == participant,
                requests.c.made == concerns,
                requests.c.type.in_(PLACING),
                requests.c.sealed.is_not(None),
            )
            .order_by(sa.func.coalesce(requests.c.offset, -1).desc())
            .limit(1)
        )
        logged = (
            sa.select(directives.c.body)
            .where(
                directives.c.participant == participant,
                directives.c.concerns == concerns,
                directives.c.type.in_(PLACING),
            )
            .order_by(directives.c.offset.desc())
            .limit(1)
        )
        with self._store.read() as connection:
            row = connection.execute(asked).one_or_none()
            body = None if row is not None else connection.execute(logged).scalar()
        if row is not None:
            opened = self._vault.hub("secrets").open(directive_aad(row.directive), row.sealed)
            rule = json.loads(opened)["rule"]
        elif body is not None:
            rule = json.loads(body)
        else:
            return None
        return Restriction.of(rule["restriction"]) if "restriction" in rule else Order.of(rule["order"])
