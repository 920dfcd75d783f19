"""Questions answered together: each its own answer, none older than its question, nobody left waiting."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from connectors.together import Together, each


async def test_each_question_has_its_own_answer_and_those_that_wait_are_asked_together() -> None:
    begun, gate, asked = threading.Event(), threading.Event(), []

    def double(numbers: Sequence[int]) -> list[int]:
        asked.append(list(numbers))
        begun.set()
        gate.wait(30)
        return [2 * number for number in numbers]

    together = Together(double, 3)
    first = asyncio.create_task(together.ask(1))
    await asyncio.to_thread(begun.wait, 30)
    others = [asyncio.create_task(together.ask(number)) for number in range(2, 7)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10, 12]
    assert asked == [[1], [2, 3, 4], [5, 6]]


async def test_what_goes_wrong_for_all_is_told_to_those_who_asked_and_to_nobody_else() -> None:
    def picky(words: Sequence[str]) -> list[str]:
        if "bad" in words:
            raise ValueError("no")
        return list(words)

    together = Together(picky, 8)
    found = await asyncio.gather(together.ask("bad"), together.ask("beside it"), return_exceptions=True)
    assert [type(one) for one in found] == [ValueError, ValueError]
    assert await together.ask("later") == "later"


async def test_what_one_question_raises_is_not_the_others_trouble() -> None:
    together = Together(each(lambda number: 10 // number), 8)
    found = await asyncio.gather(*(together.ask(number) for number in (1, 0, 5)), return_exceptions=True)
    assert found[0] == 10
    assert isinstance(found[1], ZeroDivisionError)
    assert found[2] == 2


async def test_too_few_answers_are_nobodys_answers() -> None:
    together: Together[int, int] = Together(lambda numbers: [], 8)
    with pytest.raises(ValueError, match="shorter"):
        await together.ask(1)


async def test_who_no_longer_waits_is_in_nobodys_way() -> None:
    gate = threading.Event()

    def same(numbers: Sequence[int]) -> Sequence[int]:
        gate.wait(30)
        return numbers

    together = Together(same, 8)
    one, other = asyncio.create_task(together.ask(1)), asyncio.create_task(together.ask(2))
    await asyncio.sleep(0)
    one.cancel()
    gate.set()
    assert await other == 2
    assert one.cancelled() or (await asyncio.wait([one]) and one.cancelled())


def test_a_loop_that_ends_leaves_nobody_waiting() -> None:
    gate = threading.Event()

    async def ended() -> "asyncio.Task[int]":
        together = Together(lambda numbers: (gate.wait(30) and numbers) or numbers, 1)
        tasks = [asyncio.create_task(together.ask(number)) for number in range(3)]
        await asyncio.sleep(0.01)
        assert together._task is not None
        together._task.cancel()
        gate.set()
        await asyncio.wait(tasks, timeout=30)
        return tasks[2]

    assert asyncio.run(ended()).cancelled()
