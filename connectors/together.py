"""Questions that are asked at the same time, answered together in one thread.

To hand work to a thread costs more than much of the work itself. What comes while others are being answered
waits for them to be done, and is then answered with all that waits by then: so no answer is older than its
question, and the busier it gets, the less each one costs.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


def each(answer: Callable[[Question], Answer]) -> Callable[[Sequence[Question]], list[Answer | Exception]]:
    """Answers several questions one by one, so that what one of them raises is not the others' trouble."""

    def answers(questions: Sequence[Question]) -> list[Answer | Exception]:
        found: list[Answer | Exception] = []
        for question in questions:
            try:
                found.append(answer(question))
            except Exception as error:
                found.append(error)
        return found

    return answers


class Together(Generic[Question, Answer]):
    """For one event loop at a time."""

    def __init__(
        self, answer: Callable[[Sequence[Question]], Sequence[Answer | Exception]], together_max: int
    ) -> None:
        """In: what answers several questions in their order; it is called in a thread. An exception among the
        answers is for whoever asked that question, one that is raised for all of them.
        """
        self._answer = answer
        self._together_max = together_max
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer, found after this call. Raises the exception that is the answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = (
                    self._waiting[: self._together_max],
                    self._waiting[self._together_max :],
                )
                if wanted := [one for one in some if not one[1].done()]:  # others have given up waiting
                    await self._all(wanted)
        finally:
            self._task = None
            for _, future in self._waiting:  # only where the loop is being ended
                future.cancel()

    async def _all(self, some: Sequence[tuple[Question, "asyncio.Future[Answer]"]]) -> None:
        try:
            answers = await asyncio.to_thread(self._answer, [question for question, _ in some])
            for (_, future), answer in zip(some, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        except Exception as error:
            for _, future in some:
                if not future.done():
                    future.set_exception(error)
        except asyncio.CancelledError:
            for _, future in some:
                future.cancel()
            raise
