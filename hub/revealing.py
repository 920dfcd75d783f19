"""Who a participant is: the names as agencies sent them, and the ids by which agencies know them.

Both are sealed under the participant's key. Whoever asks says why, and that is in the log before anything is
opened.
"""

import contextlib
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from connectors import projection
from hub import acts, remarks
from hub.appender import Appender
from hub.awaiting import REVIEWED
from hub.crosswalk import local_aad
from hub.lookup import Lookup
from hub.store import Store
from hub.tables import acts as acted
from hub.tables import crosswalk, decisions
from hub.vault import Vault
from schemas import codec
from schemas.errors import Erased, Unsealable

REVEALED: Final = "name-revealed"
REMARKED: Final = (REVEALED, REVIEWED)
REASONS: Final = ("participant-asked", "court-or-auditor", "complaint", "mixed-up", "other")
EVENTS_READ_MAX: Final = 12
LINKS_MAX: Final = 50
REMARKS_MAX: Final = 50


class Who(NamedTuple):
    """Names and local ids, each with the agency that calls them so; `erased` once nothing can be opened.

    `remarks` is what officers wrote beside acts of theirs: at which instant (epoch milliseconds), who, what.
    """

    names: tuple[tuple[str, str], ...]
    local_ids: tuple[tuple[str, str], ...]
    remarks: tuple[tuple[int, str, str], ...]
    erased: bool


def recorded(
    appender: Appender, vault: Vault, principal: str, participant: str, reason: str, remark: str
) -> None:
    """Writes that somebody is about to see who it is, and why. Raises `Unavailable`."""
    body = {"reason": reason}
    if remark:
        with contextlib.suppress(Erased):  # nothing is left to keep it under
            body["remark"] = remarks.sealed(vault, participant, REVEALED, remark)
    acts.access(appender, REVEALED, principal, body, participant)


def who(store: Store, vault: Vault, lookup: Lookup, participant: str) -> Who:
    """Who it is, as far as it can be opened. Raises `Unavailable` where the log does not answer."""
    with store.read() as connection:
        links = connection.execute(
            sa.select(crosswalk.c.agency, crosswalk.c.local, crosswalk.c.sealed)
            .where(crosswalk.c.participant == participant, crosswalk.c.offset.is_not(None))
            .order_by(crosswalk.c.agency, crosswalk.c.at)
            .limit(LINKS_MAX)
        ).all()
        written = connection.execute(
            sa.select(acted.c.at, acted.c.who, acted.c.what, acted.c.detail)
            .where(acted.c.participant == participant, acted.c.what.in_(REMARKED))
            .order_by(acted.c.at.desc())
            .limit(REMARKS_MAX)
        ).all()
        events = connection.execute(
            sa.select(decisions.c.discloser, decisions.c.position, decisions.c.envelope)
            .where(decisions.c.participant == participant)
            .order_by(decisions.c.at.desc())
            .limit(EVENTS_READ_MAX)
        ).all()
    try:
        sealer = vault.sealer(participant)
        local_ids = [
            (row.agency, sealer.open(local_aad(row.agency, row.local), row.sealed).decode()) for row in links
        ]
        names: dict[tuple[str, str], None] = {}
        for row in events:
            if "subject" in row.envelope["compartments"] and (found := _name(vault, lookup, row.position)):
                names[row.discloser, found] = None
    except (Erased, Unsealable):
        return Who((), (), (), erased=True)
    told = [
        (row.at, row.who, text)
        for row in written
        if (text := remarks.opened(vault, participant, row.what, str(row.detail.get("remark", ""))))
    ]
    return Who(tuple(names), tuple(local_ids), tuple(told), erased=False)


def _name(vault: Vault, lookup: Lookup, position: dict[str, int | str]) -> str | None:
    """The name in the event at that place of the log; None where it has none, or is gone."""
    name = subject(vault, lookup, position).get("name")
    return name if isinstance(name, str) else None


def subject(vault: Vault, lookup: Lookup, position: dict[str, int | str]) -> dict[str, Any]:
    """Who the event at that place of the log is about, as it says; empty where it does not, or is gone."""
    value = lookup.value(str(position["topic"]), int(position["partition"]), int(position["offset"]))
    if value is None:
        return {}
    return projection.opened(codec.decode_as("Event", value), {"subject"}, vault).get("subject", {})
