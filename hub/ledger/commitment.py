"""What a leaf of the transparency log says: that a record stands at its place, to whoever is shown the salt.

The leaf is HMAC-SHA256 under 32 bytes of salt over the *statement*: `TOPIC/PARTITION/OFFSET`, a newline, and
the record's value as the log has it. Without the salt it says nothing; with it nothing else can be shown, for
another record with the same leaf would be a collision of SHA-256. The salt of what is about a participant is
derived from that participant's key and ends with it.
"""

import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from hub.vault import Vault
from schemas import codec
from schemas.errors import Erased

SALT_BYTES: Final = 32
PURPOSE: Final = "ledger-salt"
KEYED: Final = frozenset({"consent", "decisions", "deliveries"})  # by the participant
ACTS: Final = {"access": "Access", "work": "Work"}  # what was done in the hub; each says itself about whom
SOURCES: Final = (*sorted(KEYED), "governance", *ACTS)


class Recorded(NamedTuple):
    """A record of the log with its place. `participant` is whom it is about, or None."""

    topic: str
    partition: int
    offset: int
    value: bytes
    participant: str | None

    @property
    def name(self) -> str:
        """Its place: `decisions/3/1042`."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def statement(self) -> bytes:
        """What the leaf commits to."""
        return self.name.encode() + b"\n" + self.value


def recorded(topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None) -> Recorded:
    """A record as it came from the log. Raises `BrokenRecord`, `UnknownSchema`: only the hub writes these."""
    participant = None
    if topic in KEYED:
        participant = key.decode() if key else None  # an acknowledgement of the fence is about nobody
    elif topic in ACTS and value is not None:
        participant = codec.decode_as(ACTS[topic], value)["participant"] or None
    return Recorded(topic, partition, offset, value or b"", participant)


def commitment(salt: bytes, statement: bytes) -> bytes:
    """The leaf: 32 bytes."""
    return hmac.digest(salt, statement, "sha256")


class Salts:
    """The salts of records."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def of(self, record: Recorded) -> bytes:
        """The salt of a record, always the same. Raises `Erased` where it went with its key."""
        if record.participant is None:
            return self.own(record)
        return self._vault.sealer(record.participant).derive(PURPOSE, record.name.encode())

    def own(self, record: Recorded) -> bytes:
        """The salt of the hub's own: of what is about nobody, and of what was done about somebody after that
        key had been destroyed. Who erased whom stays provable.
        """
        return bytes.fromhex(self._vault.mac(PURPOSE, record.name.encode()))

    def leaves(self, records: Sequence[Recorded]) -> list[bytes]:
        """The leaves of records; of what is about somebody whose key is gone, under a salt nobody keeps.

        Each participant's key is asked for once, so that many records at once are quicker than one by one.
        """
        about = {record.participant for record in records if record.participant is not None}
        self._vault.prefetch(about)
        made = {one: self._deriver(one) for one in about}
        found = []
        for record in records:
            place = record.name.encode()
            derived = None if record.participant is None else made[record.participant]
            if derived is not None:
                salt = derived(place)
            elif record.participant is None or record.topic in ACTS:
                salt = self.own(record)
            else:
                salt = secrets.token_bytes(SALT_BYTES)
            found.append(hmac.digest(salt, b"%b\n%b" % (place, record.value), "sha256"))
        return found

    def _deriver(self, participant: str) -> Callable[[bytes], bytes] | None:
        """What makes the salts of a participant; None where the key is gone."""
        try:
            return self._vault.sealer(participant).deriver(PURPOSE)
        except Erased:
            return None
