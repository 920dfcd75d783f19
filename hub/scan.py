"""What is asked of all history: each partition in a process of its own, several at once."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any, Final, TypeVar

from hub.ledger.reading import Topics
from schemas import codec

POLL_S: Final = 0.2

Told = Callable[[int, int], None]  # how many are done, of how many
_Out = TypeVar("_Out")


def governance(client: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """The records of `governance` with their offsets. Raises `Unavailable`, `BrokenRecord`."""
    return [
        (one.offset, dict(codec.decode_as("Governance", one.value or b"")))
        for one in Topics(client).read("governance", 0)
    ]


def spread(
    work: Callable[[int, Told], _Out],
    partitions: int,
    told: Told = lambda done, total: None,
    processes: int | None = None,
) -> list[_Out]:
    """What `work` makes of each partition, each in a process of its own, several at once.

    In: what can be pickled, is given a partition's number and tells how far it is; what is told how far all
    are together; at most as many processes as there are processors. Raises what `work` raises.
    """
    context = get_context("spawn")
    with context.Manager() as manager:
        far: dict[int, tuple[int, int]] = {}
        heard = manager.Queue()
        workers = min(partitions, processes or os.cpu_count() or 1)
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            waiting: set[Future[_Out]] = {
                pool.submit(_told, work, partition, heard) for partition in range(partitions)
            }
            done: list[_Out] = []
            while waiting:
                ended, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
                done += [one.result() for one in ended]
                while not heard.empty():
                    partition, count, total = heard.get()
                    far[partition] = count, total
                told(sum(one[0] for one in far.values()), sum(one[1] for one in far.values()))
    return done


def _told(work: Callable[[int, Told], _Out], partition: int, heard: Any) -> _Out:
    return work(partition, lambda count, total: heard.put((partition, count, total)))
