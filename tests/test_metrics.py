"""All processes' metrics at one address, nobody's after its end."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

from prometheus_client import REGISTRY, Counter
from prometheus_client.parser import text_string_to_metric_families

from hub import health, metrics
from streams import metrics as streams_metrics
from tests.streams_kit import CHECKOUT

OTHER = """
import sys
from pathlib import Path
from hub.health import Pulse
from streams.metrics import BATCH, LAG
LAG.labels("enforce", "contact", "0").set(7)
BATCH.labels("enforce").observe(3)
pulse = Pulse(Path(sys.argv[1]), "enforce")
pulse.beat()
print("beating", flush=True)
sys.stdin.readline()
if sys.argv[2] == "close":
    pulse.close()
"""


def lag(run_dir: Path) -> dict[str, float]:
    """Process to lag, as somebody who asks is told."""
    text = metrics.together(run_dir, "web").decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    samples = found["hub_lag_records"].samples
    return {one.labels["process"]: one.value for one in samples if one.labels["topic"] == "contact"}


def test_every_process_is_told_of_as_long_as_it_lives(tmp_path: Path) -> None:
    streams_metrics.LAG.labels("admit", "contact", "0").set(1)
    health.Pulse(tmp_path, "web").beat()
    for how in ("close", "vanish"):
        other = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(tmp_path), how],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert other.stdout is not None
        assert other.stdin is not None
        with other:
            assert other.stdout.readline() == b"beating\n"
            told = lag(tmp_path)
            assert told.pop(f"enforce-{other.pid}") == 7
            assert list(told.values()) == [1]  # this process once, though it left its own too
            other.stdin.write(b"\n")
        assert list(lag(tmp_path).values()) == [1]
    streams_metrics.LAG.remove("admit", "contact", "0")


def test_what_is_told_is_the_text_format_with_one_head_for_each_metric(tmp_path: Path) -> None:
    streams_metrics.BATCH.labels("admit").observe(1)
    lines = metrics.together(tmp_path, "web").decode().splitlines()
    heads = [line for line in lines if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    assert "# TYPE hub_batch_records histogram" in heads


LABELS = {"stage", "topic", "partition", "reason", "effect", "status", "type"}
LABELS |= {"agency", "adapter", "channel", "measure", "outcome", "who"}


def test_every_metric_is_described_with_its_labels_and_no_label_is_about_a_person() -> None:
    """The table in `docs/streams.md` and the code say the same."""
    for module in (
        "connectors.intake",
        "connectors.sender",
        "connectors.taking",
        "hub.access",
        "hub.ledger.worker",
        "hub.live",
        "hub.notifying",
        "hub.publishing",
        "hub.reporting",
        "hub.standstill",
        "hub.supervisor",
        "hub.visits",
        "streams.metrics",
    ):
        importlib.import_module(module)
    told = {}
    for collector in set(REGISTRY._names_to_collectors.values()):
        name = getattr(collector, "_name", "")
        if name.startswith("hub_"):
            total = "_total" if isinstance(collector, Counter) else ""
            told[name + total] = tuple(collector._labelnames)  # type: ignore[attr-defined]
    rows = re.findall(
        r"^\| `(hub_\w+)` \| (.*?) \|", (CHECKOUT / "docs/streams.md").read_text(), re.MULTILINE
    )
    assert dict(rows).keys() == told.keys()
    assert {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == told
    assert {label for labels in told.values() for label in labels} <= LABELS
