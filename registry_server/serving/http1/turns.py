"""One task for all requests of a connection, which most of them need not wait for.

A task for each request costs as much as many an answer. So a connection has one, and a request that
arrives alone while it is idle is begun at once, as that task: `asyncio.current_task` says so, the
context is the task's, and if the request has to wait for something the task goes on with it.
(asyncio offers `_enter_task` to whoever implements tasks: its documentation, "Extending".)
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, NamedTuple, TypeAlias

Work: TypeAlias = Coroutine[Any, Any, None]


class _Begun(NamedTuple):
    """Work that has begun, and what it yielded to be woken by."""

    work: Work
    waits_for: object


class Turns:
    """Does the work that `take` gives out, one piece after another; None means there is none.

    `busy` has the task as long as there is something that a server should wait for.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[], Work | None],
        busy: set[asyncio.Task[None]],
    ) -> None:
        self._loop = loop
        self._take = take
        self._busy = busy
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._begun: _Begun | None = None
        self._is_over = False

    def arrive(self, *, alone: bool) -> None:
        """Learn that there is work; when it came `alone`, as far as it goes it is done now."""
        if self._task is None:
            self._task = self._loop.create_task(self._go_on(), context=self._context)
            self._busy.add(self._task)
        elif self._idle is not None and not (alone and self._is_done_at_once(self._task)):
            self._busy.add(self._task)
            self._wake()

    def end(self) -> None:
        """End the task once it has nothing to do; from now on nothing is asked for more work."""
        self._is_over = True
        self._take = _nothing
        self._wake()

    def _is_done_at_once(self, task: asyncio.Task[None]) -> bool:
        """Begin what there is; False when it has to wait for something, or another task runs."""
        if asyncio.current_task(self._loop) is not None:
            return False
        work = self._take()
        if work is None:
            return True
        asyncio._enter_task(self._loop, task)
        try:
            self._begun = _Begun(work, self._context.run(work.send, None))
        except (StopIteration, asyncio.CancelledError):
            return True
        finally:
            asyncio._leave_task(self._loop, task)
        return False

    async def _go_on(self) -> None:
        """Do what comes; the task's own work."""
        task = asyncio.current_task()
        assert task is not None
        try:
            # What has begun is brought to its end, though its client is gone meanwhile.
            while self._begun is not None or not self._is_over:
                if self._begun is not None:
                    await self._rest()
                elif (work := self._take()) is not None:
                    await work
                else:
                    self._busy.discard(task)
                    await self._arrival(task)
        finally:
            self._busy.discard(task)

    def _rest(self) -> Awaitable[None]:
        """Return what is left of the work that has begun; nothing here knows it any longer."""
        assert self._begun is not None
        begun, self._begun = self._begun, None
        return _rest_of(*begun)

    async def _arrival(self, task: asyncio.Task[None]) -> None:
        self._idle = self._loop.create_future()
        try:
            await self._idle
        except asyncio.CancelledError:
            if self._begun is None:
                raise
            # It is the work that is to be cancelled, in what it waits for.
            task.cancel()
        finally:
            self._idle = None

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


def _nothing() -> None:
    """Give no work out."""


@types.coroutine
def _rest_of(work: Work, waits_for: object) -> Generator[object, Any, None]:
    """Go on with work that has begun elsewhere."""
    try:
        while True:
            try:
                value = yield waits_for
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:
                # it knows the error, which knows this frame (`storage.concurrency.sharing`)
                waits_for = None
                waits_for = work.throw(error)
            else:
                waits_for = work.send(value)
    except StopIteration:
        return
