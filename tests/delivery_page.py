"""A web process that shows one page: asks the owners, then lets the page leave. The screen is a receiver."""

import asyncio
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aiokafka import AIOKafkaProducer

from connectors.fence import Fence
from connectors.follower import Follower
from connectors.viewer import Viewer
from hub.shown import ShownAlerts
from hub.store import Store
from schemas import crash
from tests.delivery_scene import now_ms


def leave(screen: str, alerts: list[str]) -> None:
    """What a response's last write is to a real page."""
    headers = {"webhook-id": "page", "content-type": "application/json"}
    body = json.dumps({"alerts": alerts}).encode()
    with urllib.request.urlopen(urllib.request.Request(screen, body, headers), timeout=20) as answer:
        answer.read()


async def main(config: dict[str, Any]) -> None:
    bootstrap, partitions, send_ms_max = config["bootstrap"], config["partitions"], config["send_ms_max"]
    follower = Follower({"bootstrap_servers": bootstrap}, Fence(partitions, send_ms_max), partitions)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    await follower.start()
    try:
        while not follower.caught_up:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        viewer = Viewer(producer, follower, partitions, send_ms_max, now_ms)
        rows = [(one.id, one.participant) for one in ShownAlerts(Store(config["store"])).shown()]
        permission = await viewer.ask("reach", rows)
        left = not permission.late
        crash.point("page.permitted")
        if left:
            await asyncio.to_thread(leave, config["screen"], sorted(permission.alerts))
        await permission.close(left)
    finally:
        await follower.stop()
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
