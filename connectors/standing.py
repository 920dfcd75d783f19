"""What stands at the hub until somebody looks at it or fetches it: alerts, and what is pulled.

It was handed over once, to the hub's own store, sealed under the participant's key; but it has not left. So
it is decided again whenever something narrows for its participant, before the owner acknowledges that; all of
it at intervals, since consents also end by the calendar; and once more when it is about to leave
(`connectors/views.py`).
"""

import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from connectors.adapter import Outgoing, Share, Shown, Standing, Vault
from connectors.recheck import recheck
from consent import Governance, State
from schemas.errors import HubError

log = structlog.get_logger(__name__)

review_ms: Final = 60_000  # between two reviews of everything that stands
review_pause_ms: Final = 1_000  # after one that failed


def aad(name: str) -> bytes:
    """Associated data of the seal of what stands under that id."""
    return b"alert\0" + name.encode()


def seal(outgoing: Outgoing, vault: Vault, name: str | None = None) -> bytes:
    """All that is needed to show it, and to decide it again, under the participant's key.

    In: the id under which it will stand, where that is not the delivery's key.
    """
    body = {
        "view": outgoing.view,
        "envelope": outgoing.envelope,
        "shares": [share.as_dict() for share in outgoing.shares],
    }
    sealer = vault.sealer(outgoing.envelope["participant"])
    return sealer.seal(aad(name or outgoing.key), json.dumps(body, separators=(",", ":")).encode())


class Still(NamedTuple):
    """What it rests on now."""

    event: str
    shares: tuple[Share, ...]


def still(shown: Shown, now_ms: int, state: State, governance: Governance, vault: Vault) -> Still | None:
    """What it rests on now; None where nothing does, or it shows more than is permitted now."""
    try:
        body = json.loads(vault.sealer(shown.participant).open(aad(shown.id), shown.sealed))
    except HubError:
        return None
    verdict = recheck(
        body["envelope"], body["shares"], shown.stakeholder, shown.adapter, now_ms, state, governance
    )
    allowed = {compartment for share in verdict.shares for compartment in share.compartments}
    if not allowed or not allowed >= set(body["view"]["data"]):
        return None
    return Still(body["envelope"]["id"], verdict.shares)


class Together:
    """Several kinds of what stands, as one `Standing`."""

    def __init__(self, *kinds: Standing) -> None:
        self._kinds = kinds

    def shown(self, participants: Sequence[str] | None = None) -> Sequence[Shown]:
        """See `Standing.shown`."""
        return [one for kind in self._kinds for one in kind.shown(participants)]

    def withdraw(self, ids: Sequence[str]) -> None:
        """See `Standing.withdraw`. Every kind is asked: their ids are never the same."""
        for kind in self._kinds:
            kind.withdraw(ids)


class Watch:
    """Decides what stands again, and withdraws what would not be handed over now."""

    def __init__(self, sink: Standing, vault: Vault) -> None:
        self._sink = sink
        self._vault = vault
        self._whose: set[str] = set()
        self._all = True
        self._next_at = 0
        self._untold: list[Shown] = []

    def narrowed(self, participant: str) -> None:
        """Something narrowed for this participant."""
        self._whose.add(participant)

    def everything(self) -> None:
        """Something changed that may concern anything."""
        self._all = True

    def due(self, now_ms: int) -> bool:
        """Whether there is something to decide again."""
        return now_ms >= self._next_at or (self._next_at - now_ms > review_pause_ms and self._waits)

    @property
    def _waits(self) -> bool:
        return self._all or bool(self._whose)

    @property
    def untold(self) -> Sequence[Shown]:
        """What was withdrawn before anybody had it, and is not recorded yet."""
        return tuple(self._untold)

    def told(self) -> None:
        """All of that is recorded."""
        self._untold.clear()

    def review(
        self, now_ms: int, state_of: Callable[[str, str], State | None], governance: Governance
    ) -> bool:
        """Decide again what has to be.

        In: the time in epoch milliseconds; the state of (stakeholder, participant) where it is this worker's
        to decide, else None. Out: whether everything that must be withdrawn is; if not, nothing that follows
        from it may be acknowledged.
        """
        if not self.due(now_ms):
            return not self._waits
        try:
            whose = None if self._all or now_ms >= self._next_at else sorted(self._whose)
            shown = self._sink.shown(whose)
            gone = [one for one in shown if not self._stays(one, now_ms, state_of, governance)]
            if gone:
                self._sink.withdraw([one.id for one in gone])
        except Exception as error:
            log.error("what stands was not reviewed", error=type(error).__name__)
            self._all = True
            self._next_at = now_ms + review_pause_ms
            return False
        self._untold += [one for one in gone if not one.had]
        self._whose.clear()
        self._all = False
        if whose is None:
            self._next_at = now_ms + review_ms
        return True

    def _stays(
        self,
        shown: Shown,
        now_ms: int,
        state_of: Callable[[str, str], State | None],
        governance: Governance,
    ) -> bool:
        state = state_of(shown.stakeholder, shown.participant)
        return state is None or still(shown, now_ms, state, governance, self._vault) is not None
