"""The hot path: events cut up and put together as bytes, without decoding what is only passed on.

What comes out is byte for byte what `codec` writes for the same values; the tests hold the two together. Only
records that the hub itself wrote come here, so anything that does not parse is corruption of our own.

In an envelope, the fields that few values share between them (source to compartments) stand first. Their
bytes are looked up as a whole: Avro is self-delimiting, so bytes that once parsed as these fields can stand
for nothing else, however their end was guessed.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from schemas import codec
from schemas.errors import BrokenRecord

traits_max: Final = 65_536
_HEADER: Final = codec.header("Event")
_OUTBOUND: Final = codec.header("Outbound")
_DECISION: Final = codec.header("Decision")
_START: Final = len(_HEADER)
_ID_GUESS: Final = b"\x38e-"  # length byte and first letters of the hub's ids, 28 characters
_ENDS: Final = 0x8080_8080_8080_8080_8080_8080
_TWO_OF_SIX: Final = 0x0080_8080_8080_0080_8080_8080


class Traits(NamedTuple):
    """What few values share: the part of an envelope that the rule looks at most."""

    source: str
    type: str
    category: str
    labels: tuple[str, ...]
    discloser: str
    compartments: tuple[str, ...]


class Cut(NamedTuple):
    """An event cut up: what a decision needs, and the rest as it stood. `sealed` is the Avro map to its
    end.
    """

    traits: Traits
    id: str
    participant: str
    occurred_at: int
    consent_at_least: int | None
    envelope: bytes
    sealed: bytes


def long(value: int) -> bytes:
    """A number as Avro writes it: zigzag, then seven bits a byte, least first."""
    if -64 <= value < 64:
        return _SMALL[value]
    if 8192 <= value < 1 << 27:  # three or four bytes, as of most offsets
        rest = value << 1
        high = rest >> 14
        if high < 128:
            return bytes((rest & 127 | 128, rest >> 7 & 127 | 128, high))
        return bytes((rest & 127 | 128, rest >> 7 & 127 | 128, high & 127 | 128, high >> 7))
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SMALL: Final = {n: bytes(((n << 1) ^ (n >> 63),)) for n in range(-64, 64)}


@lru_cache(maxsize=traits_max)
def string(text: str) -> bytes:
    """Text as Avro writes it: the length in bytes, then UTF-8."""
    data = text.encode()
    return long(len(data)) + data


def strings(texts: Iterable[str]) -> bytes:
    """An array of strings as Avro writes it: one block, then the end."""
    items = [string(text) for text in texts]
    return long(len(items)) + b"".join(items) + b"\0" if items else b"\0"


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def _read_string(data: bytes, at: int) -> tuple[str, int]:
    size, at = _read_long(data, at)
    end = at + size
    if size < 0 or end > len(data):
        raise BrokenRecord("an envelope is cut short")
    return data[at:end].decode(), end


def _read_strings(data: bytes, at: int) -> tuple[tuple[str, ...], int]:
    found: list[str] = []
    while True:
        count, at = _read_long(data, at)
        if count == 0:
            return tuple(found), at
        if count < 0:
            count = -count
            _, at = _read_long(data, at)
        for _ in range(count):
            text, at = _read_string(data, at)
            found.append(text)


_traits: dict[bytes, Traits] = {}


def _read_traits(data: bytes) -> tuple[Traits, int]:
    source, at = _read_string(data, _START)
    kind, at = _read_string(data, at)
    category, at = _read_string(data, at)
    labels, at = _read_strings(data, at)
    discloser, at = _read_string(data, at)
    compartments, at = _read_strings(data, at)
    traits = Traits(source, kind, category, labels, discloser, compartments)
    if len(_traits) >= traits_max:
        _traits.clear()
    _traits[data[_START:at]] = traits
    return traits, at


def cut(data: bytes) -> Cut:
    """An `Event` cut up. Raises `UnknownSchema` or `BrokenRecord` as `codec.decode` does."""
    if not data.startswith(_HEADER):
        data = codec.encode("Event", codec.decode_as("Event", data))
    try:
        at = data.find(_ID_GUESS, _START)
        traits = None if at < 0 else _traits.get(data[_START:at])
        if traits is None:
            traits, at = _read_traits(data)
        end = at + 29
        if data[at] == 56:  # 28 characters
            event = data[at + 1 : end].decode()
        else:
            event, end = _read_string(data, at)
        size = data[end]
        at = end + 1 + (size >> 1)
        if size & 129 == 0:  # up to 63 bytes
            participant = data[end + 1 : at].decode()
        else:
            participant, at = _read_string(data, end)
        if at >= len(data):
            raise BrokenRecord("an envelope is cut short")
        both = int.from_bytes(data[at : at + 12], "little")
        if both & _ENDS == _TWO_OF_SIX:  # two instants of six bytes each, as all are from 2005 to 2039
            zigzag = both & 0x7F | both >> 1 & 0x3F80 | both >> 2 & 0x1F_C000
            zigzag |= both >> 3 & 0xFE0_0000 | both >> 4 & 0x7_F000_0000 | both >> 5 & 0x3F8_0000_0000
            occurred_at = (zigzag >> 1) ^ -(zigzag & 1)
            at += 12
        else:
            occurred_at, at = _read_long(data, at)
            _, at = _read_long(data, at)
        consent_at_least = None
        branch = data[at]
        at += 1
        if branch:
            consent_at_least, at = _read_long(data, at)
    except (IndexError, UnicodeDecodeError):
        raise BrokenRecord("an envelope is cut short") from None
    return Cut(traits, event, participant, occurred_at, consent_at_least, data[_START:at], data[at:])


def entries(sealed: bytes) -> dict[str, bytes]:
    """The sealed map of a `Cut`: compartment to its entry (name and bytes) as it stands.

    Raises `BrokenRecord` when the map is cut short or followed by more.
    """
    found: dict[str, bytes] = {}
    at = 0
    try:
        while True:
            head = sealed[at]
            if head & 129 == 0:  # up to 63 entries, as the hub writes them
                count, at = head >> 1, at + 1
            else:
                count, at = _read_long(sealed, at)
            if count == 0:
                break
            if count < 0:
                count = -count
                _, at = _read_long(sealed, at)
            for _ in range(count):
                size = sealed[at]
                if size & 129 == 0:  # up to 63 bytes
                    end = at + 1 + (size >> 1)
                    name = sealed[at + 1 : end].decode()
                else:
                    name, end = _read_string(sealed, at)
                size, second = sealed[end], sealed[end + 1]
                if size & 129 == 128 and second < 128:  # 64 to 8191 bytes
                    end += 2 + (size >> 1 & 63 | second << 6)
                else:
                    size, end = _read_long(sealed, end)
                    end += size
                found[name] = sealed[at:end]
                at = end
    except (IndexError, UnicodeDecodeError):
        raise BrokenRecord("a sealed map is cut short") from None
    if at != len(sealed):
        raise BrokenRecord(f"{len(sealed) - at} bytes follow a sealed map")
    return found


def permitted(found: Mapping[str, bytes], compartments: Iterable[str]) -> bytes:
    """A sealed map of just these compartments, in this order. In: what `entries` gave. Raises `KeyError`."""
    kept = [found[name] for name in compartments]
    return long(len(kept)) + b"".join(kept) + b"\0" if kept else b"\0"


@lru_cache(maxsize=1024)
def place(topic: str, partition: int) -> bytes:
    """The beginning of a `Position`; its offset follows as a `long`."""
    return string(topic) + long(partition)


def applied(at: int, consent_offset: int, governance_offset: int) -> bytes:
    """The three numbers that say when, and knowing what, something was decided: one for a whole batch."""
    return long(at) + long(consent_offset) + long(governance_offset)


_CAUSES: Final = {"first": b"\x02", "reconsider": b"\x04"}
_CAUSED: Final = {2: "first", 4: "reconsider"}


def decision(
    decision_id: str, cause: str, envelope: bytes, position: bytes, when: bytes, outcomes: bytes
) -> bytes:
    """A whole `Decision`. `position` is `place` and a `long`, `when` is `applied`, `outcomes` an array."""
    ident = decision_id.encode()
    return b"".join(
        (
            _DECISION,
            long(len(ident)),
            ident,
            _CAUSES[cause],
            envelope,
            position,
            when,
            outcomes,
        )
    )


class Recorded(NamedTuple):
    """A `Decision` taken apart: the event that it is about as a `Cut` without content, its place, when and
    knowing what it was decided, and the `outcomes` as an array.
    """

    id: str
    cause: str
    cut: Cut
    topic: str
    partition: int
    offset: int
    at: int
    consent_offset: int
    governance_offset: int
    outcomes: bytes


def recorded(data: bytes) -> Recorded:
    """A `Decision` taken apart. Raises `UnknownSchema` or `BrokenRecord` as `codec.decode` does."""
    if not data.startswith(_DECISION):
        data = codec.encode("Decision", codec.decode_as("Decision", data))
    try:
        name, at = _read_string(data, len(_DECISION))
        cause = _CAUSED.get(data[at], "unknown")
        found = cut(_HEADER + data[at + 1 :])
        rest = found.sealed
        topic, at = _read_string(rest, 0)
        partition, at = _read_long(rest, at)
        offset, at = _read_long(rest, at)
        when, at = _read_long(rest, at)
        consent_offset, at = _read_long(rest, at)
        governance_offset, at = _read_long(rest, at)
    except (IndexError, UnicodeDecodeError):
        raise BrokenRecord("a decision is cut short") from None
    return Recorded(
        name, cause, found, topic, partition, offset, when, consent_offset, governance_offset, rest[at:]
    )


def outbound(envelope: bytes, sealed: bytes, position: bytes, when: bytes, shares: bytes) -> bytes:
    """A whole `Outbound`; `sealed` is what `permitted` gave, `shares` an array, the rest as in `decision`."""
    return b"".join((_OUTBOUND, envelope, sealed, position, when, shares))
