"""The threads of `asyncio.to_thread`: created at startup, and never joined at exit."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from storage.concurrency.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class PreparedExecutor(ThreadPoolExecutor):
    """A default executor for an event loop; asyncio requires this base class."""

    def __init__(self) -> None:
        """Start the first threads; raise RuntimeError if the system refuses."""
        most = min(32, (os.cpu_count() or 1) + 4)  # asyncio's default
        super().__init__(most)
        self._prepared = Threads(most)
        self._prepared.start()

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `work` on a thread; to be called on the event loop."""
        outcome: Future[T] = Future()
        self._prepared.run(_carry_out, outcome, work, args, kwargs)
        return outcome

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after they have finished the submitted work."""
        self._prepared.shutdown(wait=wait)


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
