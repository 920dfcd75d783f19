"""Pages, on the owner's side: what somebody is about to look at, or fetch, is decided and recorded first.

A page that shows an alert is a way out like any other, and so is one that a recipient's program fetches. The
web process asks (`connectors/viewer.py`), the owner of the participant's partition commits an intent for what
may be shown, and only then the page leaves. A web process that dies in between leaves that intent without a
receipt: in doubt, and listed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog

from connectors import deliveries
from connectors.adapter import Record, Shown, Standing, Vault
from connectors.deliveries import Applied, Parcel
from connectors.pull import ADAPTER as PULL
from connectors.standing import still
from consent import Governance, State
from schemas import codec

log = structlog.get_logger(__name__)

TOPIC: Final = "views"
ADAPTER: Final = "page"
alerts_max: Final = 200  # that one asking may name
asking_ms_max: Final = 4_000  # after this nobody waits for the answer any more


class Asked(NamedTuple):
    """One asking, as it stands in the log."""

    partition: int
    offset: int
    view: Mapping[str, Any]


class Views:
    """Decides what may be looked at."""

    def __init__(self, sink: Standing, vault: Vault) -> None:
        self._sink = sink
        self._vault = vault

    def answers(
        self,
        records: Sequence[Record],
        now_ms: int,
        state_of: Callable[[str, str], State | None],
        governance: Governance,
        applied: Callable[[int], Applied],
    ) -> Iterable[tuple[str, str, int, bytes]]:
        """An intent for each alert that may be shown, `withheld` for each other one.

        In: records of `views`; `state_of` tells the state of (stakeholder, participant) where both are this
        worker's to decide. Out: stakeholder, participant, partition, record for `deliveries`. What was asked
        too long ago, or cannot be looked up, gets no answer: the page then shows nothing.
        """
        asked = [
            Asked(record.partition, record.offset, codec.decode_as("View", record.value))
            for record in records
            if record.value is not None
        ]
        current = [one for one in asked if now_ms - one.view["at"] <= asking_ms_max]
        if not current:
            return
        try:
            standing = self._sink.shown(sorted({one.view["participant"] for one in current}))
        except Exception as error:
            log.error("alerts not looked up", error=type(error).__name__)
            return
        by_id = {one.id: one for one in standing}
        for one in current:
            stakeholder, participant = one.view["stakeholder"], one.view["participant"]
            state = state_of(stakeholder, participant)
            if state is None:
                continue
            for alert in one.view["alerts"][:alerts_max]:
                shown = by_id.get(alert)
                if shown is not None and (shown.stakeholder, shown.participant) != (stakeholder, participant):
                    shown = None
                record = self._answer(one, alert, shown, now_ms, state, governance, applied(one.partition))
                yield stakeholder, participant, one.partition, record

    def _answer(
        self,
        asked: Asked,
        alert: str,
        shown: Shown | None,
        now_ms: int,
        state: State,
        governance: Governance,
        applied: Applied,
    ) -> bytes:
        key = f"{asked.view['id']}/{alert}"
        adapter = PULL if shown is not None and shown.adapter == PULL else ADAPTER
        parcel = Parcel(key, asked.view["stakeholder"], adapter, "", asked.view["participant"])
        found = None if shown is None else still(shown, now_ms, state, governance, self._vault)
        if found is None:
            return deliveries.withheld(parcel, now_ms, applied, [("", "withdrawn")])
        parcel = parcel._replace(event=found.event)
        return deliveries.intent(parcel, (asked.partition, asked.offset), 1, now_ms, applied, found.shares)
