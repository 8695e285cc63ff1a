"""Requests of one process that wait for the turn of one repository, and share it.

To look at a large repository takes far longer than to let something in. A look serves all requests
that came before it began. So there are few looks, however many requests come at once.

What is raised here lets go of the future it came from, as in `storage.sharing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from storage.concurrency import to_completion

S = TypeVar("S")
T = TypeVar("T")

# Seconds. The turns of other processes have as much.
_PATIENCE = 30.0
# Seconds between two turns, for another process to take one.
_PAUSE = 0.005


@dataclass(eq=False, slots=True)
class _Waiting(Generic[S]):
    """A job, the context that it runs in, and what comes of it."""

    job: Callable[[S], Coroutine[Any, Any, Any]]
    context: Context = field(default_factory=copy_context)
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.Future())

    def fail(self, error: Exception) -> None:
        """Raise `error` in the request, unless its job has ended."""
        if not self.done.done():
            self.done.set_exception(error)

    async def run(self, seen: S) -> None:
        """Run the job to its end, and pass on what comes of it."""
        task = asyncio.create_task(self.job(seen), context=self.context)
        await asyncio.wait([task])
        if task.cancelled():
            self.done.cancel()
        elif (error := task.exception()) is not None:
            self.done.set_exception(error)
        else:
            self.done.set_result(task.result())


class TurnQueue(Generic[S]):
    """Jobs that wait for a turn; `turn` waits for one, and yields what its jobs share.

    A job waits for `patience` seconds at most.
    """

    def __init__(
        self, turn: Callable[[], AbstractAsyncContextManager[S]], patience: float = _PATIENCE
    ) -> None:
        self._turn = turn
        self._patience = patience
        self._waiting: list[_Waiting[S]] = []
        self._serving: asyncio.Task[None] | None = None

    async def run(self, job: Callable[[S], Coroutine[Any, Any, T]]) -> T:
        """Run a job in a turn that begins after this, to its end even if the caller is cancelled.

        Raises what the job raises, what the wait for the turn raises, or TimeoutError when the turn
        does not begin for very long.
        """
        one = _Waiting(job)
        self._waiting.append(one)
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        try:
            await asyncio.wait([one.done], timeout=self._patience)
            if self._withdraw(one):
                raise TimeoutError("others have the turn of a repository")
            await asyncio.wait([one.done])
            result: T = one.done.result()
        except asyncio.CancelledError:
            if not self._withdraw(one):
                with suppress(Exception):
                    await to_completion(one.done)
            raise
        finally:
            del one
        return result

    def _withdraw(self, one: _Waiting[S]) -> bool:
        """Wait no longer; return False if the turn has come."""
        if one not in self._waiting:
            return False
        self._waiting.remove(one)
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
                for one in taken:
                    await one.run(seen)
        except Exception as error:
            if not taken:
                taken, self._waiting = self._waiting, []
            while taken:
                taken.pop().fail(error)
        finally:
            while taken:
                taken.pop().done.cancel()  # which does nothing to those that are done
