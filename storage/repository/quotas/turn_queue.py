"""Requests of one process that wait for the quota lock of a repository, and share it.

Reading the usage of a large repository takes far longer than admitting a request. One read serves
all requests that came before the lock was acquired. So the usage is read rarely, however many
requests are concurrent.

An exception raised here keeps no reference to its future, as in `storage.concurrency.sharing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from storage.concurrency.cancellation import to_completion

S = TypeVar("S")
T = TypeVar("T")

# Seconds that a request waits. Waiting for the locks of other processes has the same limit.
_PATIENCE = 30.0
# Seconds between two turns, so that another process can acquire the lock.
_PAUSE = 0.005


@dataclass(eq=False, slots=True)
class _Waiting(Generic[S]):
    """A job, the context that it runs in, and its result."""

    job: Callable[[S], Coroutine[Any, Any, Any]]
    context: Context = field(default_factory=copy_context)
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.Future())

    def fail(self, error: Exception) -> None:
        """Raise `error` in the request, unless its job has ended."""
        if not self.done.done():
            self.done.set_exception(error)

    async def run(self, seen: S) -> None:
        """Run the job to its end, and set its result or exception."""
        task = asyncio.create_task(self.job(seen), context=self.context)
        await asyncio.wait([task])
        if task.cancelled():
            self.done.cancel()
        elif (error := task.exception()) is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(task.result())


class TurnQueue(Generic[S]):
    """Runs jobs in turns. `turn` acquires the lock, and yields a state that the turn's jobs share.

    A job waits for at most `patience` seconds.
    """

    def __init__(
        self, turn: Callable[[], AbstractAsyncContextManager[S]], patience: float = _PATIENCE
    ) -> None:
        self._turn = turn
        self._patience = patience
        self._waiting: list[_Waiting[S]] = []
        self._serving: asyncio.Task[None] | None = None

    async def run(self, job: Callable[[S], Coroutine[Any, Any, T]]) -> T:
        """Run a job in the next turn, to its end even if the caller is cancelled.

        Raises the exceptions of the job and of `turn`, and TimeoutError when the turn does not
        start within the queue's patience.
        """
        waiting = _Waiting(job)
        self._waiting.append(waiting)
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        try:
            await asyncio.wait([waiting.done], timeout=self._patience)
            if self._withdraw(waiting):
                raise TimeoutError("timed out waiting for a quota lock")
            await asyncio.wait([waiting.done])
            result: T = waiting.done.result()
        except asyncio.CancelledError:
            if not self._withdraw(waiting):
                with suppress(Exception):
                    await to_completion(waiting.done)
            raise
        finally:
            del waiting
        return result

    def _withdraw(self, waiting: _Waiting[S]) -> bool:
        """Remove a job from the queue; return False if its turn has started."""
        if waiting not in self._waiting:
            return False
        self._waiting.remove(waiting)
        return True

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._take_turn()
                if self._waiting:
                    await asyncio.sleep(_PAUSE)
        finally:
            self._serving = None

    async def _take_turn(self) -> None:
        taken: list[_Waiting[S]] = []
        try:
            async with self._turn() as seen:
                taken, self._waiting = self._waiting, []
                for waiting in taken:
                    await waiting.run(seen)
        except Exception as error:
            if not taken:
                taken, self._waiting = self._waiting, []
            while taken:
                taken.pop().fail(error)
        finally:
            while taken:
                taken.pop().done.cancel()  # does nothing to those that are done
