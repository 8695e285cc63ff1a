"""Blocking work for one file, done in order on a thread that takes the next piece by itself.

Were each piece a call of its own, the thread would stand idle from the end of one until the event
loop, which is busy receiving, has noticed and sent the next.

Where there is no memory to pass on what became of a piece, its request would wait for ever. So the
process ends, as `storage.exhaustion` says.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar

from storage.exhaustion import leave

T = TypeVar("T")
_Work: TypeAlias = Callable[[], None]

# Pieces until whoever waits for a thread as well gets one.
_TURN = 16


class Run(Protocol):
    """Run something that blocks on one of the driver's threads."""

    def __call__(self, work: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Return what `work` returns."""


class InOrder:
    """Does what it is given, one after another; after a failure all that follows fails alike."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._waiting: deque[tuple[_Work, asyncio.Future[None]]] = deque()
        self._has_thread = False
        self._thread: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None

    def put(self, work: _Work) -> asyncio.Future[None]:
        """Do `work` after all that was put before; call this on the event loop."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        with self._lock:
            self._waiting.append((work, done))
            needs_thread, self._has_thread = not self._has_thread, True
        if needs_thread:
            self._take_thread(loop)
        return done

    def forget(self) -> None:
        """Let go of a failure: it knows the frames of the work, and so the file and this."""
        self._failure = None

    def _take_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a thread do what waits, for a while: others need one too."""
        try:
            self._thread = asyncio.ensure_future(self._run(self._work, loop))
        except (RuntimeError, MemoryError) as error:
            self._failure = error
            self._work(loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._do_some(loop)
        except MemoryError:
            leave()

    def _do_some(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(_TURN):
            waiting = self._next()
            if waiting is None:
                return
            work, done = waiting
            try:
                if self._failure is None:
                    work()
            except BaseException as error:
                self._failure = error
            # The loop may be gone, and with it whoever waited.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, done, self._failure)
            del waiting, work, done
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._take_thread, loop)

    def _next(self) -> tuple[_Work, asyncio.Future[None]] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._has_thread = False
            return None


def _settle(done: asyncio.Future[None], failure: BaseException | None) -> None:
    if done.done():
        return
    if failure is not None:
        done.set_exception(failure)
    else:
        done.set_result(None)
