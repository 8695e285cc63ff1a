"""The threads of `asyncio.to_thread`: created at startup, and never joined at exit."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

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
        return self._prepared.submit(work, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after they have finished the submitted work."""
        self._prepared.shutdown(wait)
