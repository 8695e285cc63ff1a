"""Worker threads for calls that block: an executor that costs a request half as much.

`concurrent.futures` serves any thread; a driver is asked by one event loop. So there is one future
to a call instead of two chained ones, and the loop alone counts who is busy.

`threading.Thread.start` waits until the new thread runs. Without memory for that thread's first
frame it waits for ever, and so does the event loop. So threads are started without waiting, and
`start` makes the first of them before there are requests.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures.thread  # noqa: F401 - asyncio imports it late, maybe as another user
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeAlias, TypeVar

from storage.drivers.address_space import room_for_threads
from storage.exhaustion import leave

P = ParamSpec("P")
T = TypeVar("T")

_Future: TypeAlias = "asyncio.Future[Any]"
# The last part tells whether it may wait for a lock.
_Call: TypeAlias = tuple[
    asyncio.AbstractEventLoop, _Future, Callable[..., Any], tuple[Any, ...], bool
]

# How many threads `start` makes. Each takes 16 KiB of memory.
_FIRST = 16
# Seconds after which a thread that has not begun never will.
_START_SECONDS = 10.0
_NO_THREAD = "the system grants no thread"


class Threads(Executor):
    """At most `most` threads; those that `start` did not make are made when all are busy."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[_Thread] = []
        self._busy = 0
        self._locking = 0
        self._waiting: deque[_Call] = deque()

    def start(self) -> None:
        """Make the first threads, and wait until they run.

        Fewer than intended are enough. Raises RuntimeError if not even one can be made.
        """
        self._most = room_for_threads(self._most)
        wanted = min(_FIRST, self._most)
        while len(self._threads) < wanted and self._make_another():
            pass
        begun = [thread.has_begun() for thread in self._threads]  # a list: wait for each of them
        if not any(begun):
            raise RuntimeError(_NO_THREAD)

    def run(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call `work` on a thread; call this on the event loop.

        When the future is cancelled before its turn comes, `work` is not called.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._begin((loop, future, work, args, False))
        return future

    def run_locking(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Do what `run` does, for work that may wait for a lock of another process.

        Such calls take three quarters of the threads at most, so that a lock that is held for long
        delays only those that need it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((loop, future, work, args, True))
        self._admit()
        return future

    def _admit(self) -> None:
        """Begin calls that may wait for a lock, as many as may."""
        while self._waiting and self._locking < self._most - self._most // 4:
            call = self._waiting.popleft()
            _, future, *_ = call
            if not future.cancelled():
                self._begin(call)
                self._locking += 1

    def _begin(self, call: _Call) -> None:
        if self._busy >= len(self._threads) < self._most:
            is_made = self._make_another()
            if not is_made and not self._threads:
                raise RuntimeError(_NO_THREAD)
        self._calls.put(call)
        self._busy += 1

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do what `run` does, for callers that need an executor; call this on the event loop."""
        outcome: Future[T] = Future()
        self.run(_carry_out, outcome, work, args, kwargs)
        return outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads; what was asked for is done first. Blocks; calling it twice is fine."""
        with contextlib.suppress(IndexError):
            while True:
                self._calls.put(self._waiting.popleft())
        self._calls.put(None)
        if not wait:
            return
        for thread in self._threads:
            thread.join()
        self._threads = []
        with contextlib.suppress(Empty):
            self._calls.get_nowait()  # the None that the last thread put back

    def _make_another(self) -> bool:
        """Begin a thread; False if the system grants none, and the existing ones do its work."""
        try:
            self._threads.append(_Thread(self._work))
        except (RuntimeError, MemoryError):
            return False
        return True

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            loop, future, work, args, is_locking = call
            result: Any = None
            error: BaseException | None = None
            if not future.cancelled():
                try:
                    result = work(*args)
                except BaseException as raised:
                    error = raised
            # The loop may be gone, and with it whoever waited.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._finish, future, result, error, is_locking)
            # Nothing of a call is kept while waiting for the next one.
            del call, future, work, args, result, error
        self._calls.put(None)  # for the other threads

    def _finish(
        self, future: _Future, result: object, error: BaseException | None, is_locking: bool
    ) -> None:
        self._busy -= 1
        if is_locking:
            self._locking -= 1
            self._admit()
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def _carry_out(
    outcome: Future[T],
    work: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    try:
        if outcome.set_running_or_notify_cancel():
            outcome.set_result(work(*args, **kwargs))
    except BaseException as error:
        outcome.set_exception(error)
    finally:
        # The error knows this frame, and the outcome knows the error (`storage.sharing`).
        del outcome, work, args, kwargs


class _Thread:
    """A thread that begins without being waited for; without memory it may never begin."""

    def __init__(self, work: Callable[[], None]) -> None:
        """Ask the system for a thread; raise RuntimeError or MemoryError if it grants none."""
        self._work = work
        self._begins = _thread.allocate_lock()
        self._ends = _thread.allocate_lock()
        self._begins.acquire(blocking=False)
        self._ends.acquire(blocking=False)
        _thread.start_new_thread(self._live, ())

    def has_begun(self) -> bool:
        """Wait until it runs; False if it does not within the time."""
        if not self._begins.acquire(timeout=_START_SECONDS):
            return False
        self._begins.release()
        return True

    def join(self) -> None:
        """Wait until it has ended."""
        if self.has_begun():
            self._ends.acquire()

    def _live(self) -> None:
        try:
            self._begins.release()
            self._work()
            self._ends.release()
        except MemoryError:
            leave()
