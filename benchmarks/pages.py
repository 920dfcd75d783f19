"""What the officers' pages ask the store, with ten million decisions in it beside a tenth of them.

Both stores have the same number of decisions a day, so every page has as much to show; one reaches ten times
as far back. Whatever takes longer there grows with history and not with its result. The rows are made by
SQLite itself, in the tables and with the indexes that the migrations make; the questions are the pages' own.
"""

import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.throughput import row
from hub import accounting, awaiting, closings, newest, outcomes
from hub.newest import Wanted
from hub.outcomes import Choice
from hub.store import Store

MANY: Final = int(os.environ.get("BENCH_DECISIONS", "10000000"))
FEW: Final = MANY // 10
A_DAY: Final = 10_000
PEOPLE: Final = 20_000
STAKEHOLDERS: Final = 9
REASONS: Final = ("consent", "no-consent", "role", "revoked", "restriction", "expired", "no-agreement")
SHARE: Final = {"purpose": "treatment", "basis": "consent", "grants": ["c/g"], "compartments": ["subject"]}
DAY_MS: Final = 24 * 3_600_000
NOW: Final = 1_800_000_000_000
SINCE: Final = {f"s-{number}": 0 for number in range(STAKEHOLDERS)}
BYTES_EACH: Final = (
    1_500  # on the disk, for each decision with what belongs to it, while its indexes are made
)
ROUNDS: Final = 9
Row = dict[str, Any]
Asked = Callable[[Store], object]

# Each of these is of the decision n before the newest.
_AT: Final = f"{NOW} - n * {DAY_MS // A_DAY}"
_PERSON: Final = f"'p-' || ((n * 7919) % {PEOPLE})"
_WHO: Final = f"'s-' || (n % {STAKEHOLDERS})"
_REASON: Final = "CASE n % 7 " + " ".join(f"WHEN {n} THEN '{one}'" for n, one in enumerate(REASONS)) + " END"
_TEXT: Final = {"id": "'d-' || n", "decision": "'d-' || n", "key": "'k-' || n", "event": "'e-' || n"}
_KNOWN: Final = {
    **_TEXT,
    **{"participant": _PERSON, "stakeholder": _WHO, "at": _AT, "reason": _REASON, "occurred_at": _AT},
    **{"partition": "n % 12", "offset": "n / 12", "type": "'service-engagement'", "number": "0"},
    **{"category": "'service.housing'", "discloser": "'s-' || ((n + 3) % 9)", "adapter": "'webhook'"},
    **{"effect": "CASE n % 7 WHEN 0 THEN 'permit' ELSE 'deny' END", "outcome": "'delivered'"},
    **{"envelope": "'{}'", "position": "'[]'", "obligations": "'[]'", "compartments": """'["subject"]'"""},
    **{"grants": """'["c-' || (n % 60000) || '/g1"]'""", "reasons": """'[{"reason":"revoked"}]'"""},
    **{"purpose": "'treatment'", "basis": "'consent'", "subscription": "'u-' || (n % 9)", "cause": "'event'"},
    **{"concerns": "'c-' || n", "recorded_at": _AT, "sender": "'s-1'", "body": "x'7b7d'", "attempt": "1"},
    **{"consent_offset": "n", "governance_offset": "1", "outbox_partition": "0", "outbox_offset": "n"},
    **{"next_at": "NULL", "code": "'200'", "shares": f"'[{json.dumps(SHARE)}]'"},
}
_SAID: Final = {
    "type": "CASE n % 350 WHEN 0 THEN 'consent-revoked' ELSE 'consent-granted' END",
    "body": """CAST('{"type":"consent-revoked","consent_id":"c-' || n || '"}' AS BLOB)""",
}
TABLES: Final = {"decisions": 1, "outcomes": 1, "intents": 7, "receipts": 7, "withheld": 70, "directives": 35}
"""With how many decisions each has a row."""


def rows() -> list[Row]:
    """Rows for the results: microseconds for each question of a page. None where the disk has no room."""
    with tempfile.TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < (wanted := (MANY + FEW) * BYTES_EACH):
            print(f"left out: {wanted / 1e9:.0f} GB are not free in {folder}", file=sys.stderr)
            return []
        few, many = seeded(Path(folder) / "few.db", FEW), seeded(Path(folder) / "many.db", MANY)
        found = []
        for name, ask in questions().items():
            ask(few), ask(many)  # what is on the disk is measured by none of them
            took: dict[int, list[float]] = {FEW: [], MANY: []}
            for _ in range(ROUNDS):
                for count, store in ((MANY, many), (FEW, few)):
                    began = time.perf_counter()
                    ask(store)
                    took[count].append((time.perf_counter() - began) * 1e6)
            one = row(f"{name}, {MANY:,} decisions", took[MANY], f"{FEW:,}, as many a day", took[FEW], "µs")
            print(f"{name}: {one['ours']:,} beside {one['peer_value']:,} µs", file=sys.stderr)
            found.append(one)
        few.close()
        many.close()
    return found


def questions() -> Mapping[str, Asked]:
    """What the pages ask, by what it is called."""
    day, month = Choice(NOW - DAY_MS + 1, NOW), Choice(NOW - 30 * DAY_MS + 1, NOW)
    revoked = Choice(month.since, NOW, reason="revoked")
    whose = Choice(month.since, NOW, participant="p-17")
    deep = f"{NOW - 15 * DAY_MS}~d-{15 * A_DAY}~0"
    return {
        "decisions, the newest page of a day": lambda store: outcomes.page(store, day),
        "decisions, a page in the middle of a month": lambda store: outcomes.page(store, month, deep),
        "decisions, one participant's": lambda store: outcomes.page(store, whose),
        "decisions, one recipient's": lambda store: outcomes.page(
            store, Choice(month.since, NOW, stakeholder="s-3")
        ),
        "decisions, by reason": lambda store: outcomes.page(store, revoked),
        "decisions, counted for a day": lambda store: outcomes.counts(store, day),
        "decisions, counted for a month": lambda store: outcomes.counts(store, month),
        "decisions, the course of a month": lambda store: outcomes.course(store, month),
        "every reason there is": outcomes.reasons,
        "accounting, a month of one participant": lambda store: accounting.account(
            store, "p-17", month.since, NOW
        ),
        "directives, the newest page": lambda store: newest.page(store, Wanted(month.since, NOW)),
        "held at the door, a week": lambda store: awaiting.held(store, NOW - 7 * DAY_MS),
        "how long fences took, a month": lambda store: closings.closings(store, month.since, NOW, SINCE, NOW),
        "what became of one event": lambda store: outcomes.about(store, "e-70", "s-7"),
    }


def seeded(path: Path, decisions: int) -> Store:
    """A store of so many decisions and what belongs to them."""
    store = Store(f"sqlite:///{path}")
    store.migrate()
    began = time.monotonic()
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA synchronous=OFF")
    base.execute("PRAGMA cache_size=-1000000")
    for table, every in TABLES.items():
        indexes = base.execute(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name = ? AND type = 'index' AND sql IS NOT NULL",
            (table,),
        ).fetchall()
        for name, _ in indexes:
            base.execute(f'DROP INDEX "{name}"')
        columns = [one[1] for one in base.execute(f"PRAGMA table_info({table})")]
        known = _KNOWN | (_SAID if table == "directives" else {})
        values = ", ".join(known[one] for one in columns)
        named = ", ".join(f'"{one}"' for one in columns)
        base.execute(
            "WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + ? FROM counted WHERE n + ? < ?) "
            f"INSERT INTO {table} ({named}) SELECT {values} FROM counted",
            (every, every, decisions),
        )
        for _, sql in indexes:
            base.execute(sql)
        print(f"{path.name}: {table}, {time.monotonic() - began:.0f} s", file=sys.stderr)
    base.close()
    print(f"{path.name}: {path.stat().st_size / 1e6:,.0f} MB", file=sys.stderr)
    return store
