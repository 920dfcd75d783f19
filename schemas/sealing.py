"""What a sealed compartment is bound to, so that it opens nowhere else and under nothing else."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_BOUND = ("id", "source", "type", "occurred_at", "participant", "category")


def digest(envelope: Mapping[str, Any]) -> bytes:
    """SHA-256 (32 bytes) over what an envelope says, independent of how any Avro schema lays it out.

    `admitted_at` and `consent_at_least` are left out: they belong to the hub's handling, not to the event.
    """
    said: list[Any] = [envelope[name] for name in _BOUND]
    said += [sorted(envelope["labels"]), envelope["discloser"], sorted(envelope["compartments"])]
    return hashlib.sha256(json.dumps(said, separators=(",", ":"), ensure_ascii=True).encode("ascii")).digest()


def aad(envelope: Mapping[str, Any], compartment: str) -> bytes:
    """Associated data for AES-GCM of one compartment of one event: envelope digest, zero byte, its name."""
    return digest(envelope) + b"\0" + compartment.encode("ascii")
