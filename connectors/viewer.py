"""Pages, on the web's side: ask the owners before anything is shown, and say afterwards that it was.

The order is what counts: the page leaves between the owner's intent and the receipt. So a revocation that is
being answered waits for the page, and a page that comes later is denied.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from connectors import deliveries, views
from connectors.adapter import Outcome, Producer
from connectors.deliveries import Parcel
from connectors.follower import Follower
from connectors.schedule import awake_ms
from schemas import codec
from schemas.errors import Unavailable
from schemas.topics import partition_of

LEFT: Final = Outcome("delivered", "shown")
NOT_LEFT: Final = Outcome("failed", "not-begun")
CUT_OFF: Final = Outcome("failed", "cut-off")
answer_ms_max: Final = 3_000  # that a page waits for the owners
askings_max: Final = 1_000  # at the same time, of one process


@dataclass(slots=True)
class _Asking:
    """What is waited for: keys without an answer yet, and the intents that came."""

    open: set[str]
    intents: dict[str, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Permission:
    """What may be shown now. It must have left before `deadline_ms` (on the clock of `awake_ms`).

    Whoever asked must call `close` in the end, and say whether the page left.
    """

    alerts: frozenset[str]
    deadline_ms: int
    _close: Callable[[Outcome], asyncio.Task[None]]

    @property
    def late(self) -> bool:
        """Whether nothing may leave on it any more."""
        return awake_ms() >= self.deadline_ms

    async def close(self, left: bool, begun: bool = False) -> None:
        """Write the receipts; they are written also when whoever waits for it is cancelled.

        In: whether it left whole, or if not, whether some of it may have.
        """
        await asyncio.shield(self._close(LEFT if left else CUT_OFF if begun else NOT_LEFT))


class Viewer:
    """Asks owners on behalf of one web process."""

    def __init__(
        self,
        producer: Producer,
        follower: Follower,
        partitions: int,
        send_ms_max: int,
        now: Callable[[], int],
    ) -> None:
        self._producer = producer
        self._partitions = partitions
        self._send_ms_max = send_ms_max
        self._now = now
        self._name = f"v-{secrets.token_hex(8)}"
        self._count = 0
        self._askings: dict[str, _Asking] = {}
        self._writing: set[asyncio.Task[None]] = set()
        follower.listen(self._heard)

    async def ask(self, stakeholder: str, alerts: Iterable[tuple[str, str]]) -> Permission:
        """What of `alerts`, pairs of alert and participant, may be shown to a stakeholder's people.

        Raises `Unavailable` when an owner does not answer in time: then nothing may be shown.
        """
        by_participant: dict[str, list[str]] = {}
        for alert, participant in alerts:
            by_participant.setdefault(participant, []).append(alert)
        asked_at = awake_ms()
        if not by_participant:
            return Permission(
                frozenset(),
                asked_at + self._send_ms_max,
                lambda outcome: self._closing(_Asking(set()), outcome),
            )
        if len(self._askings) >= askings_max:
            raise Unavailable("too many pages are being asked for at once")
        self._count += 1
        name = f"{self._name}-{self._count}"
        asking = _Asking({f"{name}/{alert}" for some in by_participant.values() for alert in some})
        self._askings[name] = asking
        try:
            async with asyncio.timeout(answer_ms_max / 1000):
                await self._asked(name, stakeholder, by_participant, asking)
        except BaseException as error:
            self._closing(asking, NOT_LEFT)
            if isinstance(error, TimeoutError):
                raise Unavailable("what may be shown now could not be checked in time") from None
            raise
        finally:
            del self._askings[name]
        granted = frozenset(key.partition("/")[2] for key in asking.intents)
        return Permission(
            granted, asked_at + self._send_ms_max, lambda outcome: self._closing(asking, outcome)
        )

    async def _asked(
        self, name: str, stakeholder: str, by_participant: Mapping[str, list[str]], asking: _Asking
    ) -> None:
        async def send(participant: str, alerts: list[str]) -> None:
            view = {
                "id": name,
                "stakeholder": stakeholder,
                "participant": participant,
                "alerts": alerts,
                "at": self._now(),
            }
            partition = partition_of(participant, self._partitions)
            await self._producer.send_and_wait(
                views.TOPIC, codec.encode("View", view), participant.encode(), partition
            )

        await asyncio.gather(*(send(*one) for one in by_participant.items()))
        await asking.done.wait()

    def _heard(self, partition: int, record: Mapping[str, Any]) -> None:
        """One record of `deliveries`."""
        told = record["intent"] or record["withheld"]
        if told is None or not told["key"].startswith(self._name):
            return
        name = told["key"].partition("/")[0]
        asking = self._askings.get(name)
        if asking is None:
            if record["intent"] is not None:  # too late for its page: it will not be shown
                self._closing(_Asking(set(), {told["key"]: (partition, told)}), NOT_LEFT)
            return
        if record["intent"] is not None:
            asking.intents[told["key"]] = (partition, told)
        asking.open.discard(told["key"])
        if not asking.open:
            asking.done.set()

    def _closing(self, asking: _Asking, outcome: Outcome) -> asyncio.Task[None]:
        """Write the receipts, whether somebody waits for it or not."""
        task = asyncio.ensure_future(self._receipts(asking, outcome))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _receipts(self, asking: _Asking, outcome: Outcome) -> None:
        """A receipt for each intent, all at once. One that cannot be stored leaves its intent in doubt."""
        intents, asking.intents, now = asking.intents, {}, self._now()

        async def write(partition: int, intent: Mapping[str, Any]) -> None:
            parcel = Parcel(*(intent[name] for name in Parcel._fields))
            value = deliveries.receipt(parcel, intent["attempt"], outcome, now, None)
            with contextlib.suppress(Exception):
                await self._producer.send_and_wait(
                    deliveries.TOPIC, value, parcel.participant.encode(), partition
                )

        await asyncio.gather(*(write(*one) for one in intents.values()))
