"""The metrics of all processes of this hub, told at one address.

Each process leaves its own beside its heartbeat; whoever answers `/metrics` puts them together, each sample
with the process that it came from.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

SUFFIX: Final = ".metrics"
PROCESS: Final = "process"


def leave(run_dir: Path, stage: str) -> None:
    """Writes this process's metrics to where `together` finds them."""
    path = _path(run_dir, stage)
    new = path.with_suffix(".new")
    new.write_bytes(generate_latest(REGISTRY))
    new.replace(path)


def take_away(run_dir: Path, stage: str) -> None:
    """Takes them away again: the process ends."""
    _path(run_dir, stage).unlink(missing_ok=True)


def together(run_dir: Path, stage: str) -> bytes:
    """The metrics of this process as they are now and of the others as they left them, in the text format."""
    return generate_latest(_Together(run_dir, f"{stage}-{os.getpid()}"))


class _Together(Collector):
    def __init__(self, run_dir: Path, own: str) -> None:
        self._run_dir = run_dir
        self._own = own

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for process, family in self._families():
            kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                kept.samples.append(sample._replace(labels={**sample.labels, PROCESS: process}))
        return families.values()

    def _families(self) -> Iterator[tuple[str, Metric]]:
        yield from ((self._own, family) for family in REGISTRY.collect())
        for path in sorted(self._run_dir.glob(f"*{SUFFIX}")):
            if path.stem == self._own:
                continue
            try:
                text = path.read_text()
            except FileNotFoundError:
                continue
            if not _alive(path.stem):
                path.unlink(missing_ok=True)
                continue
            yield from ((path.stem, family) for family in text_string_to_metric_families(text))


def _path(run_dir: Path, stage: str) -> Path:
    return run_dir / f"{stage}-{os.getpid()}{SUFFIX}"


def _alive(process: str) -> bool:
    try:
        os.kill(int(process.rpartition("-")[2]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
