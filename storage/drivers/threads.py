"""Worker threads for calls that block: an executor that costs a request half as much.

`concurrent.futures` serves any thread; a driver is asked by one event loop. So there is one future
to a call instead of two chained ones, and the loop alone counts who is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

_Future: TypeAlias = "asyncio.Future[Any]"
_Call: TypeAlias = tuple[asyncio.AbstractEventLoop, _Future, Callable[..., Any], tuple[Any, ...]]


class Threads:
    """At most `most` threads, each started when all others are busy."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def run(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call `work` on a thread; call this on the event loop.

        When the future is cancelled before its turn comes, `work` is not called.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._busy += 1
        if self._busy > len(self._threads) < self._most:
            try:
                self._start()
            except RuntimeError:
                # The system grants no more threads; those there are do it, if there are any.
                if not self._threads:
                    self._busy -= 1
                    raise
        self._calls.put((loop, future, work, args))
        return future

    def shutdown(self) -> None:
        """End the threads; what was asked for is done first. Blocks; calling it twice is fine."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._calls.put(None)
        for thread in threads:
            thread.join()

    def _start(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            loop, future, work, args = call
            result: Any = None
            error: BaseException | None = None
            if not future.cancelled():
                try:
                    result = work(*args)
                except BaseException as raised:
                    error = raised
            # The loop may be gone, and with it whoever waited.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._finish, future, result, error)
            # Nothing of a call is kept while waiting for the next one.
            del call, future, work, args, result, error

    def _finish(self, future: _Future, result: object, error: BaseException | None) -> None:
        self._busy -= 1
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
