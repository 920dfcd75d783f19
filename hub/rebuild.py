"""`hub rebuild`, `hub audit rebuild`: throw the store's projections away; they are built again from the log.

The first leaves building to the auditor that runs with the hub. The second builds here and now, and shows how
far it is: with the hub running they share the work, without it it is done all the same.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final

import sqlalchemy as sa
import typer
from confluent_kafka import Consumer, KafkaException, TopicPartition
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hub import acts, auditor, bootstrap, scan, settings
from hub.auditor import PROJECTION, TOPICS, Auditor, Place
from hub.desk import Desk
from hub.errors import OperatorError
from hub.ledger.reading import Topics
from hub.quarantine import BY
from hub.store import Store
from hub.tables import PROJECTED, offsets
from schemas.errors import Unavailable

REBUILT: Final = "projections-rebuilt"
LOOK_BACK_RECORDS: Final = 64  # for the last record of a partition, behind which marks of transactions stand
LOOK_S: Final = 0.2
STILL_S_MAX: Final = 120.0
ANSWER_S_MAX: Final = 10.0
PAUSE_S: Final = 0.05

Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class NotConfirmed(OperatorError):
    """Nobody said yes."""


class Stuck(OperatorError):
    """Building did not go on."""


def rebuild(yes: Yes = False, as_json: AsJson = False) -> None:
    """Throw the projections in the store away, to have them built again from the log. It is recorded.

    For a store that was damaged. Nothing is lost: keys, tokens, accounts and what waits to be fetched are no
    projections, and stay. Until the auditor has read everything again, pages and reports are incomplete, and
    nobody is found by an agency's own id, so nothing about them is taken in.
    """
    _confirmed(yes)
    with bootstrap.bootstrap(settings.load()) as hub:
        _thrown_away(hub)
    if as_json:
        typer.echo(json.dumps({"tables": [table.name for table in PROJECTED]}))
    else:
        typer.echo(f"{len(PROJECTED)} tables are empty. The auditor fills them again; `hub up` runs one.")


def here_and_now(yes: Yes = False, as_json: AsJson = False) -> None:
    """The same as `hub rebuild`, but build them again at once, and end when that is done.

    The hub may run meanwhile. SQLite and PostgreSQL are built by the same code.
    """
    _confirmed(yes)
    settled = settings.load()
    with bootstrap.bootstrap(settled) as hub:
        _thrown_away(hub)
        wanted = targets(hub.client)
        desk = Desk(hub.alert_rules, settled.linking_desk, bootstrap.now_ms)
        worker = Auditor(hub.client, hub.store, None, None, settled.session_ms_max, desk)
        shown = (TextColumn("building again"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*shown, console=Console(stderr=True), disable=as_json) as bar:
            task = bar.add_task("", total=None)
            built(
                worker.run,
                hub.store,
                wanted,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    if as_json:
        names = [table.name for table in PROJECTED]
        typer.echo(json.dumps({"tables": names, "positions": sum(wanted.values())}))
    else:
        typer.echo(f"{len(PROJECTED)} tables are as the log says, up to where it ended when this began.")


def _confirmed(yes: bool) -> None:
    if not yes and not typer.confirm("Throw the projections away, and have them built again from the log?"):
        raise NotConfirmed("nothing was changed", "Say yes, or give `--yes`.")


def _thrown_away(hub: bootstrap.Hub) -> None:
    acts.access(hub.appender, REBUILT, BY, {"at": time.time_ns() // 1_000_000})
    auditor.rebuild(hub.store)


def targets(client: Mapping[str, Any]) -> dict[Place, int]:
    """Where each partition that is projected ends: the offset behind its last committed record.

    Raises `Unavailable`.
    """
    consumer = Consumer({**client, "group.id": "hub-scan", "isolation.level": "read_committed"})
    try:
        named = consumer.list_topics(timeout=ANSWER_S_MAX).topics
        places = [
            (name, partition)
            for name, topic in named.items()
            if any(re.fullmatch(pattern, name) for pattern in TOPICS)
            for partition in topic.partitions
        ]
        marks = {place: _marks(consumer, place) for place in places}
    except KafkaException as error:
        raise Unavailable("the log does not answer") from error
    finally:
        consumer.close()
    return {place: _end(client, place, low, high) for place, (low, high) in marks.items() if high > low}


def _marks(consumer: Consumer, place: Place) -> tuple[int, int]:
    """The first offset and the next one. A partition that was made just now has no leader for a moment."""
    until = time.monotonic() + ANSWER_S_MAX
    while True:
        try:
            return consumer.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_S_MAX)
        except KafkaException:
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE_S)


def _end(client: Mapping[str, Any], place: Place, low: int, high: int) -> int:
    """Behind the last record that counts; 0 where there is none. Looks back further and further."""
    back = LOOK_BACK_RECORDS
    while True:
        start = max(low, high - back)
        last = -1
        for record in Topics(client).read(*place, start):
            last = record.offset
        if last >= 0 or start == low:
            return last + 1
        back *= 16


def built(
    work: Callable[[threading.Event], None], store: Store, wanted: Mapping[Place, int], told: scan.Told
) -> None:
    """Runs `work` until the store has got as far as `wanted`; it is told how far it is, in offsets.

    Raises what `work` raises, and `Stuck` where nothing moved for `STILL_S_MAX`.
    """
    stop, total = threading.Event(), sum(wanted.values())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work, stop)
        try:
            before, since = -1, time.monotonic()
            while (done := _done(store, wanted)) < total:
                told(done, total)
                if running.done():
                    break
                if done != before:
                    before, since = done, time.monotonic()
                elif time.monotonic() - since > STILL_S_MAX:
                    raise Stuck(f"nothing moved for {STILL_S_MAX:.0f} s", "`hub doctor` says what is wrong.")
                time.sleep(LOOK_S)
            told(done, total)
        finally:
            stop.set()
        running.result()


def _done(store: Store, wanted: Mapping[Place, int]) -> int:
    query = sa.select(offsets.c.topic, offsets.c.partition, offsets.c.position).where(
        offsets.c.projection == PROJECTION
    )
    with store.read() as connection:
        found = {(topic, partition): position for topic, partition, position in connection.execute(query)}
    return sum(min(found.get(place, 0), end) for place, end in wanted.items())
