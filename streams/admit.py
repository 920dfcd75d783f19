"""Admit: turns what an agency sent into an event of the hub, or says why not.

Each agency's inbox has one partition, so its order, its repeats and what is parked of it are one worker's.
A repeat within the window is dropped, another event under the same id is refused. The person is found by the
keyed hash of the agency's local id; an event about somebody unknown waits, sealed, and is admitted in its
order once a link says who it is. The sender is told the same in both cases.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from consent import Governance, Policy
from schemas import cloudevents, codec, compartments, sealing, topics
from schemas.errors import Erased, HubError, Refused, TooLarge, Unavailable, Unsealable
from schemas.topics import TYPE_TOPICS, partition_of
from streams import metrics, tallies
from streams.answers import Answers
from streams.arrival import Arrival, Unread, again, read
from streams.errors import Corrupt
from streams.keys import Links, Vault
from streams.parking import Parking, Waiting, waits_ms_max
from streams.seen import Seen
from streams.step import Out, Record

STAGE: Final = "admit"
INBOX: Final = "inbox."
PART2: Final = "part2"
PART2_CATEGORY: Final = "service.substance-use"
trim_every_ms: Final = 30_000
look_every_ms: Final = 60_000  # at what waits too long
given_up_per_look_max: Final = 1_000


class Admit:
    """The step. `local_hash(agency, local id)` is the keyed hash in `identity`; `trim` deletes what lies
    before given offsets of the inboxes; `now` gives the time in epoch milliseconds.
    """

    def __init__(
        self,
        vault: Vault,
        links: Links,
        local_hash: Callable[[str, str], str],
        trim: Callable[[Mapping[tuple[str, int], int]], None],
        now: Callable[[], int],
        partitions: int,
    ) -> None:
        self._vault = vault
        self._links = links
        self._local_hash = local_hash
        self._trim = trim
        self._answers = Answers(vault, partitions)
        self._now = now
        self._partitions = partitions
        self._governance = Governance()
        self._part2: set[str] = set()
        self._seen: dict[str, Seen] = {}
        self._parked: dict[str, Parking] = {}
        self._linked: set[tuple[str, str]] = set()
        self._positions: Mapping[tuple[str, int], int] = {}
        self._trim_at = 0
        self._look_at = now() + look_every_ms
        self._at = 0

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """These inboxes are ours; what was seen and parked of them is about to be restored."""
        for topic, _ in partitions:
            agency = topic.removeprefix(INBOX)
            self._seen[agency], self._parked[agency] = Seen(), Parking()

    def revoked(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Forgets these agencies."""
        for topic, _ in partitions:
            agency = topic.removeprefix(INBOX)
            del self._seen[agency], self._parked[agency]
            for gauge in (metrics.PARKED, metrics.PARKED_AGE):
                with contextlib.suppress(KeyError):
                    gauge.remove(agency)
            self._linked = {one for one in self._linked if one[0] != agency}

    def apply(self, record: Record) -> None:
        """Governance, a link, or what an earlier worker left. All of it is the hub's own: it has to parse."""
        family, _, agency = record.topic.partition(".")
        try:
            if record.value is None:
                if family != "seen":
                    raise Corrupt("a tombstone where there are none")
            elif family == "seen":
                self._seen[agency].apply(codec.decode_as("Seen", record.value))
            elif family == "parked":
                waiting = codec.decode_as("Parked", record.value)
                self._parked[agency].apply(waiting)
                self._look(agency, waiting["local"])
            elif family == "identity":
                link = codec.decode_as("Identity", record.value)
                self._links.apply(link)
                self._look(link["agency"], link["local"])
            else:
                self._govern(record.offset, codec.decode_as("Governance", record.value))
        except HubError as error:
            place = f"{record.topic}/{record.partition} at {record.offset}"
            raise Corrupt(f"{place}: {error.detail}", code=error.code) from None

    def _govern(self, offset: int, change: Mapping[str, object]) -> None:
        self._governance.apply(offset, change)
        if change["kind"] == "stakeholder":
            body = json.loads(str(change["body"], "utf-8"))  # type: ignore[call-overload]
            (self._part2.add if body.get("part2") is True else self._part2.discard)(str(change["id"]))

    def _look(self, agency: str, local: str) -> None:
        """Notes whether something waits for somebody who is known now."""
        waits = local in self._parked.get(agency, ())
        if waits and self._links.participant(local) is not None:
            self._linked.add((agency, local))
        else:
            self._linked.discard((agency, local))

    def due(self, now_ms: int) -> bool:
        """Whether somebody was linked for whom something waits, or it is time to look at what waits."""
        return bool(self._linked) or (now_ms >= self._look_at and any(map(len, self._parked.values())))

    def step(self, batch: Sequence[Record], out: Out) -> None:
        """Admits what waited for a link first, then the batch, in order."""
        policy = self._governance.policy
        if policy is None:
            raise Unavailable("governance has no policy yet")
        self._at = self._now()
        self._positions = out.positions
        linked, self._linked = sorted(self._linked), set()
        for agency, local in linked:
            self._release(agency, local, policy, out)
        self._give_up(out)
        read_so_far = [(record, self._read(record, policy)) for record in batch]
        self._prefetch([found for _, found in read_so_far if isinstance(found, Arrival)])
        for record, found in read_so_far:
            if isinstance(found, Unread):
                self._answers.refuse(record, found, self._at, out)
            else:
                self._take(record, found, out)

    def committed(self) -> None:
        """Deletes from the inboxes what is committed, from time to time."""
        if self._at >= self._trim_at:
            self._trim_at = self._at + trim_every_ms
            self._trim(self._positions)

    # -- one record ------------------------------------------------------------------------------------------

    def _read(self, record: Record, policy: Policy) -> Arrival | Unread:
        try:
            return read(record, record.topic.removeprefix(INBOX), self._vault, policy)
        except Unread as unread:
            return unread

    def _prefetch(self, arrivals: Sequence[Arrival]) -> None:
        found = {self._links.participant(self._local(one)) for one in arrivals}
        self._vault.prefetch([participant for participant in found if participant is not None])

    def _local(self, arrival: Arrival) -> str:
        return self._local_hash(arrival.agency, arrival.published.local_id)

    def _take(self, record: Record, arrival: Arrival, out: Out) -> None:
        if self._governance.stakeholders.get(arrival.agency) is None:
            unread = Unread(Refused("not a registered stakeholder", code="unregistered"), arrival.original)
            self._answers.refuse(record, unread, self._at, out)
            return
        same = self._seen[arrival.agency].same(arrival.event, arrival.fingerprint, self._at)
        if same is False:
            error = Refused("another event came under this id before", path="/id", code="conflict")
            unread = Unread(error, arrival.original, given=arrival.published.id)
            self._answers.refuse(record, unread, self._at, out, status="conflict")
            return
        if same:
            self._answers.tell(record, arrival, "duplicate", self._at, out)
            return
        local = self._local(arrival)
        participant = self._links.participant(local)
        if participant is None:
            self._park(local, arrival, out)
        else:
            self._admit(participant, arrival, arrival.consent_at_least, out)
        self._remember(record, arrival, out)
        self._answers.tell(record, arrival, "admitted", self._at, out)

    def _admit(self, participant: str, arrival: Arrival, at_least: int | None, out: Out) -> None:
        """Writes the event, each compartment sealed by itself; nothing of somebody who was erased."""
        published = arrival.published
        compartments_of = tallies.noted(published)
        names = sorted(compartments_of)
        envelope = {
            "id": arrival.event,
            "source": cloudevents.source_of(arrival.agency),
            "type": published.type,
            "occurred_at": published.occurred_at,
            "admitted_at": self._at,
            "participant": participant,
            "category": published.category,
            "labels": self._labels(arrival),
            "discloser": arrival.agency,
            "compartments": names,
            "consent_at_least": at_least,
        }
        plain = [compartments.encode(published.type, name, compartments_of[name]) for name in names]
        sealer = self._vault.sealer(participant)
        try:
            sealed = sealer.seal_all(list(zip(sealing.aads(envelope, names), plain, strict=True)))
        except Erased as error:
            self._answers.set_aside(arrival.agency, arrival.event, error, b"", self._at, out)
            return
        value = codec.encode("Event", {"envelope": envelope, "sealed": dict(zip(names, sealed, strict=True))})
        key = participant.encode()
        out.produce(TYPE_TOPICS[published.type], key, value, partition_of(key, self._partitions))
        metrics.ADMITTED.labels("admitted", published.type).inc()

    def _labels(self, arrival: Arrival) -> list[str]:
        """The sender's labels, and what the hub adds. It never takes one away."""
        labels, category = set(arrival.published.labels), arrival.published.category
        if category == PART2_CATEGORY or category.startswith(PART2_CATEGORY + "."):
            labels.add(PART2)
        if arrival.agency in self._part2:
            labels.add(PART2)
        return sorted(labels)

    # -- parked ----------------------------------------------------------------------------------------------

    def _park(self, local: str, arrival: Arrival, out: Out) -> None:
        sealed = self._vault.hub("originals").seal(
            _parked_aad(arrival.agency, arrival.event), arrival.original
        )
        parking = self._parked[arrival.agency]
        if parking.full(len(sealed)):
            error = TooLarge("too much waits of this agency already", code="parking-full")
            self._answers.set_aside(arrival.agency, arrival.event, error, arrival.original, self._at, out)
            return
        waiting = Waiting(arrival.event, self._at, arrival.consent_at_least, sealed)
        parking.add(local, waiting)
        self._parked_record(arrival.agency, local, waiting, out, released=False)
        metrics.ADMITTED.labels("parked", arrival.published.type).inc()

    def _release(self, agency: str, local: str, policy: Policy, out: Out) -> None:
        participant = self._links.participant(local)
        if participant is None:  # unlinked again before its turn came
            return
        self._vault.prefetch([participant])
        for one in self._parked[agency].take(local):
            original = b""
            try:
                original = self._vault.hub("originals").open(_parked_aad(agency, one.event), one.sealed)
                arrival = again(agency, original, one.consent_at_least, self._vault, policy)
                self._admit(participant, arrival, one.consent_at_least, out)
            except (Erased, Unsealable) as error:
                self._answers.set_aside(agency, one.event, error, b"", self._at, out)
            except Unavailable:
                raise
            except HubError as error:
                self._answers.set_aside(agency, one.event, error, original, self._at, out)
            self._parked_record(agency, local, one._replace(sealed=b"", at=self._at), out, released=True)

    def _give_up(self, out: Out) -> None:
        """Puts on record that something waited in vain, before the key dies that would open it."""
        if self._at < self._look_at:
            return
        self._look_at = self._at + look_every_ms
        for agency, parking in self._parked.items():
            for local, one in parking.overdue(self._at - waits_ms_max, given_up_per_look_max):
                error = Refused("nobody said in time who it is about", code="never-linked")
                self._answers.set_aside(agency, one.event, error, b"", self._at, out)
                self._parked_record(agency, local, one._replace(sealed=b"", at=self._at), out, released=True)
            oldest = parking.oldest()
            metrics.PARKED.labels(agency).set(len(parking))
            age_ms = 0 if oldest is None else max(self._at - oldest, 0)
            metrics.PARKED_AGE.labels(agency).set(age_ms / 1000)

    def _parked_record(self, agency: str, local: str, one: Waiting, out: Out, *, released: bool) -> None:
        value = {"agency": agency, "local": local, "released": released, **one._asdict()}
        out.produce(topics.parked(agency), local.encode(), codec.encode("Parked", value), 0)

    # -- what is said about it -------------------------------------------------------------------------------

    def _remember(self, record: Record, arrival: Arrival, out: Out) -> None:
        seen = {
            "event": arrival.event,
            "fingerprint": arrival.fingerprint,
            "at": self._at,
            "offset": record.offset,
        }
        self._seen[arrival.agency].apply(seen)
        key = arrival.event.encode()
        out.produce(topics.seen(arrival.agency), key, codec.encode("Seen", seen), 0)


def _parked_aad(agency: str, event: str) -> bytes:
    return b"parked\0" + agency.encode() + b"\0" + event.encode()
