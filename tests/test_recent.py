"""Credentials that were good a moment ago: remembered for a bounded while, and only where they were good."""

from hub.recent import Recent, credentials_max, recent_ms_max
from hub.tokens import Machine

GOOD = Machine("harbor-house", frozenset({"publish"}), "a")


class Store:
    """What is good now, and how often that was asked."""

    def __init__(self, clock: list[float]) -> None:
        self.good: dict[str, Machine] = {"a": GOOD}
        self.asked = 0
        self.clock = clock
        self.takes_s = 0.0

    async def ask(self, digest: str) -> Machine | None:
        self.asked += 1
        found = self.good.get(digest)
        self.clock[0] += self.takes_s
        return found


async def test_one_that_ended_opens_nothing_after_the_bound_at_the_latest() -> None:
    clock = [100.0]
    store = Store(clock)
    recent = Recent(store.ask, lambda: clock[0])
    assert [await recent.ask("a") for _ in range(5)] == [GOOD] * 5
    assert store.asked == 1
    del store.good["a"]
    clock[0] += recent_ms_max / 1000 - 0.001
    assert await recent.ask("a") == GOOD
    clock[0] += 0.002
    assert await recent.ask("a") is None
    assert store.asked == 2


async def test_the_bound_counts_from_before_the_store_was_asked() -> None:
    clock = [100.0]
    store = Store(clock)
    store.takes_s = recent_ms_max / 1000 + 0.001  # good when it was looked up, and ended while that was told
    recent = Recent(store.ask, lambda: clock[0])
    assert await recent.ask("a") == GOOD
    del store.good["a"]
    assert await recent.ask("a") is None


async def test_what_is_not_good_is_asked_each_time() -> None:
    clock = [100.0]
    store = Store(clock)
    recent = Recent(store.ask, lambda: clock[0])
    assert [await recent.ask("b"), await recent.ask("b")] == [None, None]
    assert store.asked == 2
    store.good["b"] = Machine("reach", frozenset(), "b")
    assert await recent.ask("b") == store.good["b"]


async def test_it_remembers_no_more_than_its_bound() -> None:
    clock = [100.0]
    store = Store(clock)
    recent = Recent(store.ask, lambda: clock[0])
    store.good = {str(n): Machine("reach", frozenset(), str(n)) for n in range(credentials_max + 1)}
    for one in store.good:
        await recent.ask(one)
    assert len(recent._known) <= credentials_max
