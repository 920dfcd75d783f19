"""`python -m tests.fuzz`: every parser that faces outside, on bytes that are almost right, and on any.

Each takes what it is given or refuses it in words (`HubError`): never another exception, and within a bound
of memory. `make fuzz` runs each for ten minutes; `tests/test_fuzz.py` a few dozen examples of each.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from connectors import archive, mapping, resources
from consent import Policy, default_policy, fhir
from hub import tokens
from hub.pulls import Pulls
from hub.store import Store
from schemas import cloudevents, codec, directives, events, instant, strict
from schemas.errors import HubError

EXAMPLES_AT_ONCE = 1_000  # then the clock is looked at; what is drawn after the deadline is thrown away
GROWN_MB_MAX = 512  # of one process, over all examples of a target
ROOT = Path(__file__).parent
EVENT = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "urn:agency:jail",
    "type": "contact",
    "category": "contact.custody-booking",
    "subject": "A-1",
    "time": "2026-11-20T10:00:00Z",
    "datacontenttype": "application/json",
    "labels": "part2,hiv",
    "data": {
        "local_id": "A-1",
        "facility": "County Jail",
        "occurred_at": "2026-11-20T10:00:00Z",
        "needs": ["x"],
    },
}
GRANT = {
    "id": "g",
    "disclosers": ["*"],
    "recipients": ["reach"],
    "purposes": ["treatment"],
    "categories": ["service"],
    "labels": ["part2"],
    "compartments": ["*"],
    "data_from": None,
}
GRANTED = {
    "id": "d-1",
    "participant": "p-1",
    "type": "consent-granted",
    "witness": {"name": "T", "organisation": "reach"},
    "consent": {
        "id": "c-1",
        "signed_at": "2026-11-20T10:00:00Z",
        "starts_at": "2026-11-20T10:00:00Z",
        "expires_on": "none",
        "signature": {"method": "paper", "reference": "f"},
        "grants": [GRANT],
        "statements": ["right-to-revoke", "redisclosure", "refusal"],
    },
}
BUNDLE = {
    "resourceType": "Bundle",
    "type": "batch",
    "entry": [
        {
            "resource": {
                "resourceType": "Encounter",
                "id": "e",
                "status": "finished",
                "subject": {"identifier": {"value": "A-1"}},
                "class": {"code": "AMB"},
                "period": {"start": "2026-11-20T10:00:00Z"},
            },
            "request": {"method": "POST", "url": "Encounter"},
        }
    ],
}
CONSENT = {
    "resourceType": "Consent",
    "status": "active",
    "patient": {"reference": "Patient/p-1"},
    "scope": {"coding": [{"code": "patient-privacy"}]},
    "category": [{"coding": [{"code": "59284-0"}]}],
    "provision": {
        "type": "deny",
        "period": {"start": "2026"},
        "provision": [{"type": "permit", "actor": []}],
    },
}
NASTY = (
    b"[" * 5_000,
    b'{"a":' * 2_000,
    b"1" * 5_000,
    b"\xff\xfe\x00",
    b"\x00",
    b"\xed\xa0\x80",
    b'"\\ud800"',
    b"1e999",
    b"NaN",
    b"-0",
    b"9" * 20,
    b"<!DOCTYPE x [<!ENTITY y 'z'>]>",
    b"<![CDATA[",
    b'"\n"',
    b"\r",
    b"PK\x03\x04",
    b"\x80" * 12,
    b"\x00\x00\x00\x00\x01",
    b"0001-01-01T00:00:00Z",
    b"99999-01-01",
    b"+24:00",
    b"null",
    b"{}",
    b"[]",
    b"''",
    b"%s%n",
)


def _bytes(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """What was right, with some of it cut, doubled, or replaced; and anything."""
    piece = st.one_of(st.sampled_from(NASTY), st.binary(max_size=12))
    edit = st.tuples(st.floats(0, 1), st.integers(0, 40), piece, st.booleans())

    def edited(seed: bytes, edits: list[tuple[float, int, bytes, bool]]) -> bytes:
        for place, length, new, doubled in edits:
            at = int(place * len(seed))
            cut = seed[at : at + length]
            seed = seed[:at] + (cut + cut if doubled else new) + seed[at + length :]
        return seed

    near = st.builds(edited, st.sampled_from(seeds), st.lists(edit, max_size=4))
    return st.one_of(near, near, piece, st.binary(max_size=300))


def _json(*values: Any) -> st.SearchStrategy[bytes]:
    """The same, and besides what is JSON with another value somewhere."""
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)

    def inside(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3)

    junk = st.recursive(leaf, inside, max_leaves=6)

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        value = json.loads(json.dumps(draw(st.sampled_from(values))))
        at = value
        while isinstance(at, dict | list) and at:
            key = (
                draw(st.sampled_from(sorted(at)))
                if isinstance(at, dict)
                else draw(st.integers(0, len(at) - 1))
            )
            if not isinstance(at[key], dict | list) or not at[key] or draw(st.booleans()):
                at[key] = draw(junk)
                break
            at = at[key]
        return json.dumps(value).encode()

    return st.one_of(changed(), _bytes(*(json.dumps(value).encode() for value in values)))


@cache
def _policy() -> Policy:
    return Policy(default_policy())


@cache
def _store() -> Store:
    store = Store(f"sqlite:///{Path(tempfile.mkdtemp()) / 'hub.db'}")
    store.migrate()
    return store


def _avro(data: bytes) -> None:
    codec.decode(data)


def _published(event: cloudevents.CloudEvent) -> None:
    events.validate(event, _policy().lineages, _policy().labels)


def _structured(data: bytes) -> None:
    _published(cloudevents.structured(data))


def _batch(data: bytes) -> None:
    for _, event in cloudevents.parse_batch(data):
        if isinstance(event, cloudevents.CloudEvent):
            _published(event)


def _binary(data: bytes) -> None:
    lines = [line.split(b":", 1) for line in data.split(b"\n") if b":" in line]
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in lines}
    _published(cloudevents.parse_binary(headers, data.rpartition(b"\n\n")[2]))


def _kafka(data: bytes) -> None:
    lines = [line.split(b":", 1) for line in data.split(b"\n") if b":" in line]
    headers = [(name.decode("latin-1"), value) for name, value in lines]
    _published(cloudevents.parse_kafka(headers, data.rpartition(b"\n\n")[2]))


def _directive(data: bytes) -> None:
    directives.parse(strict.parse(data))


def _fhir_consent(data: bytes) -> None:
    fhir.parse(data, _policy())


def _fhir(data: bytes) -> None:
    said = strict.parse(data)
    alone = {"type": "batch", "entry": [{"resource": said}]}
    bundle = said if resources.kind_of(said) == resources.BUNDLE else alone
    for entry in resources.entries(bundle):
        resources.event(entry.resource, "urn:agency:clinic")


def _file(name: str) -> Callable[[bytes], None]:
    def taken(data: bytes) -> None:
        mapper = _mapping(name)
        for _ in archive.read(io.BytesIO(data), mapper, "urn:agency:jail"):
            pass

    return taken


@cache
def _mapping(name: str) -> Any:
    return mapping.load(name)


def _cursor(data: bytes) -> None:
    Pulls(_store()).confirm("reach", data.decode("utf-8", "replace"))


def _token(data: bytes) -> None:
    assert tokens.check(_store(), data.decode("latin-1")) is None


def _time(data: bytes) -> None:
    instant.parse(data.decode("utf-8", "replace"))


def _roster() -> bytes:
    names = "BookingNumber InmateID InmateName DateOfBirth BookedAt ReleaseExpected ReleasedAt"
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(f"{names} Facility District MedicalNeeds Status".split())
    lines.writerow(["B1", "A-1", "N", "01/02/1970", "11/20/2026 10:00", "", "", "Jail", "1", "MED/WD", ""])
    return text.getvalue().encode()


_HEADERS = b"".join(
    f"ce_{name}:{value}\n".encode()
    for name, value in EVENT.items()
    if name not in ("data", "datacontenttype")
)
_KAFKA = _HEADERS + b"content-type:application/json\n\n" + json.dumps(EVENT["data"]).encode()
_NIEM = [(ROOT / "data/niem" / f"{name}.xml").read_bytes() for name in ("booking", "charge-filing")]

Target = tuple[Callable[[bytes], None], st.SearchStrategy[bytes]]
TARGETS: Mapping[str, Target] = {
    "avro": (
        _avro,
        _bytes(codec.encode("Contact", {"facility": "x", "needs": []}), codec.header("Event") + b"\2a"),
    ),
    "cloudevents": (_structured, _json(EVENT)),
    "cloudevents-batch": (_batch, _json([EVENT, EVENT])),
    "cloudevents-binary": (_binary, _bytes(_KAFKA.replace(b"ce_", b"ce-"))),
    "cloudevents-kafka": (_kafka, _bytes(_KAFKA)),
    "csv": (_file("jail-roster"), _bytes(_roster())),
    "xml": (_file("niem-booking"), _bytes(_NIEM[0])),
    "xml-charges": (_file("niem-charge-filing"), _bytes(_NIEM[1])),
    "zip": (_file("hmis-export"), _bytes(b"PK\x05\x06" + bytes(18))),
    "fhir": (_fhir, _json(BUNDLE)),
    "fhir-consent": (_fhir_consent, _json(CONSENT)),
    "directives": (_directive, _json(GRANTED)),
    "cursors": (_cursor, _bytes(b"d-abc", b"~d-abc")),
    "tokens": (_token, _bytes(b"hub_abc.def")),
    "times": (_time, _bytes(b"2026-11-20T10:00:00.123+02:00")),
}


def look(name: str, examples: int, seconds: float | None = None) -> int:
    """Tries one target; out: how many examples. Raises what it should not have raised, with the example."""
    target, strategy = TARGETS[name]
    deadline = None if seconds is None else time.monotonic() + seconds
    before, tried = _memory_mb(), 0

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(strategy)
    def one(data: bytes) -> None:
        nonlocal tried
        if deadline is not None and time.monotonic() > deadline:
            return
        tried += 1
        try:
            target(data)
        except HubError:
            return

    one()
    while deadline is not None and time.monotonic() < deadline:
        one()
    grown = _memory_mb() - before
    assert grown < GROWN_MB_MAX, f"{name}: memory grew by {grown} MB"
    return tried


def _memory_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main(given_words: list[str] | None = None) -> int:
    """Status 0 where every parser took or refused everything, 1 where one did not, 2 called wrongly."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, epilog="example: make fuzz MINUTES=1"
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(TARGETS)} (default: all)"
    )
    parser.add_argument("--minutes", type=float, default=10, help="for each (default: 10)")
    chosen = parser.parse_args(given_words)
    if unknown := set(chosen.names) - TARGETS.keys():
        parser.error(f"no such parser: {', '.join(sorted(unknown))}")
    wrong = 0
    for name in chosen.names or TARGETS:
        try:
            tried = look(name, EXAMPLES_AT_ONCE, chosen.minutes * 60)
            print(f"{name:<20} {tried:>9} examples, memory at most {_memory_mb()} MB", flush=True)
        except Exception as error:
            wrong += 1
            print(
                f"{name:<20} FAILED: {type(error).__name__}: {error}",
                *getattr(error, "__notes__", ()),
                sep="\n",
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
