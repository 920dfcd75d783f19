"""The same job as an ordinary Faust app: `python -m benchmarks.peers.faust_app BOOTSTRAP RUN PLAN FOLDER`.

A table of consents, an agent for directives and one for events, exactly once. It decides by the hub's own
decision point and writes by the hub's own schemas: what differs is the machinery around them.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import faust

from benchmarks.population import PARTITIONS
from consent import Event, Governance, State, Subscription, decide, fold
from schemas import codec
from schemas.topics import EVENT_TOPICS, outbox, partition_of


def app(bootstrap: str, run: str, plan: Path, folder: Path) -> faust.App:
    """The app. `plan` names the file with policy, stakeholders and subscriptions."""
    made = faust.App(
        run,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=str(folder),
        web_enabled=False,
        processing_guarantee="exactly_once",
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
    )
    governance = _governance(plan)
    raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw"}
    topics = {name: made.topic(name, **raw) for name in ("consent", EVENT_TOPICS[0], "decisions")}
    for one in governance.subscriptions.values():
        topics[outbox(one.stakeholder)] = made.topic(outbox(one.stakeholder), **raw)
    consents = made.Table("consents", default=list, partitions=PARTITIONS)
    states: dict[str, State] = {}

    @made.agent(topics["consent"])
    async def remember(stream: Any) -> None:
        async for value in stream:
            said = codec.decode_as("Directive", value)
            participant = said["participant"]
            consents[participant] = [*consents[participant], json.loads(said["body"])]
            states.pop(participant, None)

    @made.agent(topics[EVENT_TOPICS[0]])
    async def enforce(stream: Any) -> None:
        async for one in stream.events():
            value = codec.decode_as("Event", one.value)
            envelope = value["envelope"]
            participant = envelope["participant"]
            state = states.get(participant)
            if state is None:
                state = states[participant] = fold(consents[participant])
            key = participant.encode()
            place = partition_of(participant, PARTITIONS)
            at = one.message
            position = {"topic": at.topic, "partition": at.partition, "offset": at.offset}
            for topic, body in _decided(value, position, state, governance):
                await topics[topic].send(key=key, value=body, partition=place)

    return made


def _governance(plan: Path) -> Governance:
    said = json.loads(plan.read_text())
    rules = Governance()
    entries = [("policy", "policy", said["policy"])]
    entries += [("stakeholder", one["id"], one) for one in said["stakeholders"]]
    entries += [("subscription", one["id"], one) for one in said["subscriptions"]]
    for offset, (kind, name, body) in enumerate(entries):
        change = {"kind": kind, "id": name, "at": 0, "by": "bench", "body": json.dumps(body).encode()}
        rules.apply(offset, change)
    return rules


def _decided(
    value: dict[str, Any], position: dict[str, Any], state: State, governance: Governance
) -> list[tuple[str, bytes]]:
    """The decision and the copies, as topic and record."""
    envelope = value["envelope"]
    wanted: list[Subscription] = list(governance.wanting(envelope["category"], envelope["discloser"]))
    at = time.time_ns() // 1_000_000
    applied = {"at": at, "consent_offset": state.offset, "governance_offset": governance.offset}
    event = Event(*(envelope[name] for name in Event._fields))
    outcomes: list[dict[str, Any]] = []
    shares: dict[str, list[dict[str, Any]]] = {}
    for one in wanted:
        assert governance.policy is not None
        decision = decide(
            event, one.stakeholder, one.purpose, at, state, governance.policy, governance.stakeholders
        ).as_json()
        named = {"subscription": one.id, "purpose": one.purpose}
        outcomes.append({"stakeholder": one.stakeholder, **named, **decision})
        if decision["effect"] == "permit":
            said = {name: decision[name] for name in ("basis", "grants", "compartments", "obligations")}
            shares.setdefault(one.stakeholder, []).append(named | said)
    record = {
        "id": f"d{envelope['id'][1:]}",
        "cause": "first",
        "event": envelope,
        "position": position,
        **applied,
        "outcomes": outcomes,
    }
    records = [("decisions", codec.encode("Decision", record))]
    for stakeholder, some in shares.items():
        kept = {name: value["sealed"][name] for share in some for name in share["compartments"]}
        copy = {"envelope": envelope, "sealed": kept, "position": position, **applied, "shares": some}
        records.append((outbox(stakeholder), codec.encode("Outbound", copy)))
    return records


def main() -> None:
    """Runs until it is told to stop."""
    bootstrap, run, plan, folder = sys.argv[1:5]
    made = app(bootstrap, run, Path(plan), Path(folder))
    worker = faust.Worker(made, loglevel="WARN", loop=asyncio.new_event_loop())
    print("started", flush=True)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
