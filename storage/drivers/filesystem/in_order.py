"""Blocking work for one file, done in order on a thread that takes the next task by itself.

If each task were a call of its own, the thread would be idle until the event loop, which is busy
receiving, has noticed the end of one task and sent the next.

Without memory to report the result of a task its request would wait without end. So the process
ends, as described in `storage.concurrency.memory_exhaustion`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar

from storage.concurrency.memory_exhaustion import exit_process

T = TypeVar("T")
_Work: TypeAlias = Callable[[], None]

# Tasks of one file in a row; then the thread serves other calls.
_MOST_IN_A_ROW = 16


class Run(Protocol):
    """Runs blocking work on one of the driver's threads."""

    def __call__(self, work: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Return what `work` returns."""


class InOrder:
    """Runs tasks one after another; after a failure all further tasks fail with the same error."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._waiting: deque[tuple[_Work, asyncio.Future[None]]] = deque()
        self._has_thread = False
        self._thread: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None

    def put(self, work: _Work) -> asyncio.Future[None]:
        """Run `work` after all earlier tasks; call this on the event loop."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        with self._lock:
            self._waiting.append((work, done))
            needs_thread, self._has_thread = not self._has_thread, True
        if needs_thread:
            self._take_thread(loop)
        return done

    def forget(self) -> None:
        """Drop the error of a failed task, whose frames refer to the file and to this object."""
        self._failure = None

    def _take_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run waiting tasks on a thread of the driver."""
        try:
            self._thread = asyncio.ensure_future(self._run(self._work, loop))
        except (RuntimeError, MemoryError) as error:
            self._failure = error
            self._work(loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._run_some(loop)
        except MemoryError:
            exit_process()

    def _run_some(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(_MOST_IN_A_ROW):
            waiting = self._next()
            if waiting is None:
                return
            work, done = waiting
            try:
                if self._failure is None:
                    work()
            except BaseException as error:
                self._failure = error
            # The loop may be closed, and with it the waiting task.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_finish, done, self._failure)
            del waiting, work, done
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._take_thread, loop)

    def _next(self) -> tuple[_Work, asyncio.Future[None]] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._has_thread = False
            return None


def _finish(done: asyncio.Future[None], failure: BaseException | None) -> None:
    if done.done():
        return
    if failure is not None:
        done.set_exception(failure)
    else:
        done.set_result(None)
