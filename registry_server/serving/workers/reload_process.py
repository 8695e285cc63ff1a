"""The child process that reads the configuration for a reload."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

from registry_server.serving.workers.forked_call import ForkedCall
from registry_server.serving.workers.worker_process import WorkerSpec

T = TypeVar("T")

# Seconds; the configuration may be a pipe, and the files it names may be on a disk that hangs.
READ_SECONDS = 60.0


class ReloadProcess(Generic[T]):
    """Calls `read` in a child process, so that the supervisor can handle signals meanwhile.

    `apply` turns the result of `read` into what new workers run, or returns None to keep the
    workers. `deadline` is that of the running process, in the supervisor's running time.
    """

    def __init__(self, read: Callable[[], T], apply: Callable[[T], WorkerSpec | None]) -> None:
        self._read = read
        self._apply = apply
        self._call: ForkedCall[T] | None = None
        self._abandoned: list[ForkedCall[T]] = []
        self.deadline = math.inf

    @property
    def sources(self) -> list[ForkedCall[T]]:
        """Return the running process, if any; it is readable when `result` would not block."""
        return [self._call] if self._call is not None else []

    def begin(self, now: float) -> None:
        """Start the process; raise OSError or MemoryError if the fork fails."""
        self._abandoned = [call for call in self._abandoned if not call.reap()]
        self._call = ForkedCall(self._read)
        self.deadline = now + READ_SECONDS

    def result(self) -> WorkerSpec | None:
        """Return what new workers run; None until the process has exited, or to keep the workers.

        Raises the exceptions of `read` and `apply`, and `ForkedCallFailed`.
        """
        call = self._call
        if call is None or not call.has_ended():
            return None
        self._forget()
        return self._apply(call.result())

    def close(self) -> None:
        """In a new worker: close the supervisor's descriptors."""
        for call in self.sources:
            call.close()

    def abandon(self) -> None:
        """Kill the running process, if any, without waiting for its exit."""
        if self._call is not None:
            self._call.kill()
            self._abandoned.append(self._call)
            self._forget()

    def _forget(self) -> None:
        self._call, self.deadline = None, math.inf
