"""What a sealed compartment is bound to, so that it opens nowhere else and under nothing else."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas import strict

_BOUND: Final = ("id", "source", "type", "occurred_at", "participant", "category")


def digest(envelope: Mapping[str, Any]) -> bytes:
    """SHA-256 (32 bytes) over what an envelope says, independent of how any Avro schema lays it out.

    `admitted_at` and `consent_at_least` are left out: they belong to the hub's handling, not to the event.
    """
    said: list[Any] = [envelope[name] for name in _BOUND]
    said += [sorted(envelope["labels"]), envelope["discloser"], sorted(envelope["compartments"])]
    return hashlib.sha256(strict.written(said).encode("ascii")).digest()


def aad(envelope: Mapping[str, Any], compartment: str) -> bytes:
    """Associated data for AES-GCM of one compartment of one event: envelope digest, zero byte, its name."""
    return aads(envelope, (compartment,))[0]


def aads(envelope: Mapping[str, Any], compartments: Iterable[str]) -> list[bytes]:
    """The same of several compartments of one event, in their order: its digest is made once."""
    said = digest(envelope) + b"\0"
    return [said + compartment.encode("ascii") for compartment in compartments]
