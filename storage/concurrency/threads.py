"""Worker threads for blocking calls, at half the cost of `ThreadPoolExecutor` for each request.

`concurrent.futures` serves any thread; a driver is called by one event loop only. So each call has
one future instead of two chained ones, and only the loop counts busy threads.

`threading.Thread.start` waits until the new thread runs. Without memory for that thread's first
frame it would block the event loop without end. So threads are started without waiting, and `start`
creates the first of them before there are requests.
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

from storage.concurrency.address_space import room_for_threads
from storage.concurrency.memory_exhaustion import exit_process

P = ParamSpec("P")
T = TypeVar("T")

_Future: TypeAlias = "asyncio.Future[Any]"
# The last element tells whether the call may wait for a lock.
_Call: TypeAlias = tuple[
    asyncio.AbstractEventLoop, _Future, Callable[..., Any], tuple[Any, ...], bool
]

# The number of threads that `start` creates. Each takes 16 KiB of memory.
_FIRST = 16
# Seconds after which a thread that has not begun is given up.
_START_SECONDS = 10.0
_NO_THREAD = "the system grants no thread"


class Threads(Executor):
    """At most `most` threads. Those that `start` did not create are created when all are busy."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[_Thread] = []
        self._busy = 0
        self._locking = 0
        self._waiting: deque[_Call] = deque()

    def start(self) -> None:
        """Create the first threads, and wait until they run.

        Fewer than intended are enough. Raises RuntimeError if none can be created.
        """
        self._most = room_for_threads(self._most)
        wanted = min(_FIRST, self._most)
        while len(self._threads) < wanted and self._add_thread():
            pass
        begun = [thread.has_begun() for thread in self._threads]  # a list: waits for each of them
        if not any(begun):
            raise RuntimeError(_NO_THREAD)

    def run(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call `work` on a thread; call this on the event loop.

        If the future is cancelled before a thread takes it, `work` is not called.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._begin((loop, future, work, args, False))
        return future

    def run_locking(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Call `work` as `run` does, if it may wait for a lock that another process holds.

        Such calls use at most three quarters of the threads. So a lock that is held for long delays
        only the calls that need it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((loop, future, work, args, True))
        self._admit()
        return future

    def _admit(self) -> None:
        """Begin as many locking calls as the limit permits."""
        while self._waiting and self._locking < self._most - self._most // 4:
            call = self._waiting.popleft()
            _, future, *_ = call
            if not future.cancelled():
                self._begin(call)
                self._locking += 1

    def _begin(self, call: _Call) -> None:
        if self._busy >= len(self._threads) < self._most:
            is_added = self._add_thread()
            if not is_added and not self._threads:
                raise RuntimeError(_NO_THREAD)
        self._calls.put(call)
        self._busy += 1

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `work` as `run` does, for callers that need an executor."""
        outcome: Future[T] = Future()
        self.run(_carry_out, outcome, work, args, kwargs)
        return outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after all submitted calls. Blocks; calling it twice is fine."""
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

    def _add_thread(self) -> bool:
        """Start a thread; return False if the system refuses, then the existing ones must do."""
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
            # The loop may be closed, and with it the waiting task.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._finish, future, result, error, is_locking)
            # Free all of this call while waiting for the next one.
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
        # The error refers to this frame, and the outcome to the error
        # (`storage.concurrency.sharing`).
        del outcome, work, args, kwargs


class _Thread:
    """A thread that is started without waiting; without memory it may never begin."""

    def __init__(self, work: Callable[[], None]) -> None:
        """Start the thread; raise RuntimeError or MemoryError if the system refuses."""
        self._work = work
        self._begins = _thread.allocate_lock()
        self._ends = _thread.allocate_lock()
        self._begins.acquire(blocking=False)
        self._ends.acquire(blocking=False)
        _thread.start_new_thread(self._live, ())

    def has_begun(self) -> bool:
        """Wait until the thread runs; return False if that takes too long."""
        if not self._begins.acquire(timeout=_START_SECONDS):
            return False
        self._begins.release()
        return True

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self.has_begun():
            self._ends.acquire()

    def _live(self) -> None:
        try:
            self._begins.release()
            self._work()
            self._ends.release()
        except MemoryError:
            exit_process()
