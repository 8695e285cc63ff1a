"""The threads of `asyncio.to_thread`: made before there are requests, and never waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from storage.drivers.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class PreparedExecutor(ThreadPoolExecutor):
    """A default executor for an event loop; asyncio demands this base class."""

    def __init__(self) -> None:
        """Make the first threads; raise RuntimeError if the system grants none."""
        most = min(32, (os.cpu_count() or 1) + 4)  # as many as asyncio's own
        super().__init__(most)
        self._prepared = Threads(most)
        self._prepared.start()

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `work` on a thread; call this on the event loop."""
        return self._prepared.submit(work, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads; what was asked for is done first."""
        self._prepared.shutdown(wait)
