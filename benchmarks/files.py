"""Records of files taken in a second, beside reading the same file with `csv` and encoding its lines as Avro.

Ours is `connectors/taking.py` as the hub runs it, to the bytes that would go to the log: read, checked,
mapped, validated, named, sealed, and the result file written and forced to the disk. Neither side has a
broker. The peer knows the file by heart: it copies the cells that the mapping names, checks nothing and seals
nothing. A second one seals as well, one by one; a third does not even look for the contact in a line.
"""

import asyncio
import csv
import functools
import gc
import io
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastavro import parse_schema, schemaless_writer

from benchmarks.throughput import ROUNDS, row
from connectors import folder, mapping
from connectors.intake import Intake, Taken
from connectors.sources import Source
from connectors.taking import Taker
from consent import default_policy
from hub import kek
from hub.governance import Register, canonical
from hub.store import Store
from hub.vault import Sealer, Vault
from schemas import codec, registry
from schemas.topics import inbox

LINES: Final = 20_000
MAPPING: Final = "hmis-current-living-situation"
AGENCY: Final = "reach"
UNIT: Final = "records/s"
NAME: Final = f"files taken in, {MAPPING}"
ZONE: Final = ZoneInfo("America/Los_Angeles")
_HEADER: Final = b"\0\0\0\0\1"
_PLACES: Final = ("Under the bridge", "", "By the river, north side")
Row = dict[str, Any]


class Nowhere:
    """A log that answers at once and keeps nothing."""

    async def send_all(self, records: Sequence[Taken]) -> None:
        """Ends at once."""


class Counted(Intake):
    """An intake that counts what was accepted."""

    async def append(self, taken: Sequence[Taken]) -> None:
        """Counts, and stores as an intake does."""
        assert all(one.answer["status"] == "accepted" for one in taken), "a good record was refused"
        await super().append(taken)


def rows() -> list[Row]:
    """Rows for the results."""
    with tempfile.TemporaryDirectory(prefix="bench-files-") as name:
        place = Path(name)
        text = export(LINES)
        vault, rulebook, close = machinery(place)
        sealer = vault.hub("originals")
        contenders: dict[str, Callable[[], float]] = {
            "hub": functools.partial(ours, place, text, vault, rulebook),
            "bare": functools.partial(bare, text),
            "sealing": functools.partial(bare, text, sealer),
            "copied": functools.partial(copied, text),
        }
        try:
            for run in contenders.values():
                run()  # warms up
            rates: dict[str, list[float]] = defaultdict(list)
            for number in range(ROUNDS):
                for one in list(contenders)[:: 1 if number % 2 == 0 else -1]:
                    gc.collect()
                    rates[one].append(LINES / contenders[one]())
                    print(f"files, {one}: {rates[one][-1]:,.0f} {UNIT}", file=sys.stderr, flush=True)
        finally:
            close()
    peers = {
        "bare": "bare csv reading and Avro encoding of the contacts, nothing checked",
        "sealing": "the same, and each contact sealed as the hub seals it",
        "copied": "bare csv reading and Avro encoding of the lines as they stand",
    }
    return [row(NAME, rates["hub"], says, rates[one], UNIT) for one, says in peers.items()]


def export(lines: int) -> bytes:
    """An HMIS export's `CurrentLivingSituation.csv`, of outreach workers who see each person now and then."""
    found = _mapper()
    situations = list(found.file.tables["living-situation"])
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, found.input.columns, restval="")
    writer.writeheader()
    for n in range(lines):
        day = f"2026-{n // 28 % 12 + 1:02d}-{n % 28 + 1:02d}"
        writer.writerow(
            {
                "CurrentLivingSitID": f"{n:08d}",
                "EnrollmentID": f"{n // 5:07d}",
                "PersonalID": f"{n // 7:07d}",
                "InformationDate": day,
                "CurrentLivingSituation": situations[n % len(situations)],
                "LeaveSituation14Days": "0",
                "LocationDetails": _PLACES[n % 3],
                "DateCreated": f"{day} 08:{n % 60:02d}:00",
                "DateUpdated": f"{day} 09:{n % 60:02d}:{n % 59:02d}",
                "UserID": f"worker-{n % 40}",
                "ExportID": "export-1",
            }
        )
    return out.getvalue().encode()


def machinery(place: Path) -> tuple[Vault, Register, Callable[[], None]]:
    """The hub's own keys and rules without a broker, and how to let go of them. In: a folder."""
    store = Store(f"sqlite:///{place / 'hub.db'}")
    store.migrate()
    vault = Vault(store, kek.load(place, {}, create=True))
    register = Register()
    policy = {"kind": "policy", "id": "policy", "at": 0, "by": "bench", "body": canonical(default_policy())}
    register.apply(0, policy)
    return vault, register, store.close


def ours(place: Path, text: bytes, vault: Vault, rulebook: Register) -> float:
    """Seconds to take one file."""
    file = place / folder.stamped("CurrentLivingSituation.csv", time.time_ns())
    file.write_bytes(text)
    source = Source(agency=AGENCY, mappings={"*.csv": MAPPING}, folder=place)
    taker = Taker(source, Counted(Nowhere(), vault, rulebook, 4), vault.mac)
    began = time.perf_counter()
    assert asyncio.run(taker.take(file, lambda: False)), "the file was not read to its end"
    took = time.perf_counter() - began
    with folder.result_of(file).open("rb") as result:
        assert sum(1 for _ in result) == LINES + 1, "a record has no line in the result"
    return took


def bare(text: bytes, sealer: Sealer | None = None) -> float:
    """Seconds for what the peer does: the contact that each line tells of, by the hub's own Avro schema."""
    began = time.perf_counter()
    situations = _mapper().file.tables["living-situation"]
    schema = parse_schema(codec.bare(registry.schema(registry.newest("Contact"))))
    aad, written = inbox(AGENCY).encode(), 0
    for line in csv.DictReader(io.TextIOWrapper(io.BytesIO(text), "utf-8", newline="")):
        day = datetime.fromisoformat(line["InformationDate"]).replace(hour=12, tzinfo=ZONE)
        where = (str(situations[line["CurrentLivingSituation"]]), line["LocationDetails"])
        value = {
            "local_id": line["PersonalID"],
            "occurred_at": int(day.timestamp() * 1000),
            "staff": line["UserID"],
            "phase": "outreach",
            "place": {"description": ": ".join(part for part in where if part)},
        }
        written += len(_sealed(sealer, aad, _encoded(schema, value)))
    took = time.perf_counter() - began
    assert written > LINES * 50, "something was left out"
    return took


def copied(text: bytes) -> float:
    """Seconds for less than that: every line encoded as it stands, its cells as texts."""
    began = time.perf_counter()
    reader = csv.DictReader(io.TextIOWrapper(io.BytesIO(text), "utf-8", newline=""))
    fields = [{"name": name, "type": "string"} for name in reader.fieldnames or ()]
    schema = parse_schema({"type": "record", "name": "Line", "fields": fields})
    written = sum(len(_encoded(schema, line)) for line in reader)
    took = time.perf_counter() - began
    assert written > len(text) // 2, "something was left out"
    return took


def _encoded(schema: Any, value: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(_HEADER)
    schemaless_writer(out, schema, value)
    return out.getvalue()


def _sealed(sealer: Sealer | None, aad: bytes, value: bytes) -> bytes:
    if sealer is None:
        return value
    sealed = {"agency": AGENCY, "via": "file", "received_at": 0, "sealed": sealer.seal(aad, value)}
    return codec.encode("Inbound", sealed)


def _mapper() -> mapping.Mapper:
    found = mapping.load(MAPPING)
    assert isinstance(found, mapping.Mapper), "one file, not an archive"
    return found
