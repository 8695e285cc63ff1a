"""A reload as the supervisor sees it: a child process reads the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from registry_server.serving.workers.child import Child
from registry_server.serving.workers.work import Work

T = TypeVar("T")

# Seconds; the configuration may be a pipe, and the files it names may be on a disk that hangs.
READ_SECONDS = 60.0


class Reload(Generic[T]):
    """Calls `read` in a child process, so that the supervisor can handle signals meanwhile.

    `take` turns the result of `read` into new work, or returns None to keep the workers.
    """

    def __init__(self, read: Callable[[], T], take: Callable[[T], Work | None]) -> None:
        self._read = read
        self._take = take
        self._child: Child[T] | None = None
        self._abandoned: list[Child[T]] = []
        self.deadline = 0.0

    @property
    def readings(self) -> list[Child[T]]:
        """Return the running child, if any; it is readable when `work` would not block."""
        return [self._child] if self._child is not None else []

    def begin(self, now: float) -> None:
        """Start the child; raise OSError or MemoryError if the fork fails."""
        self._abandoned = [child for child in self._abandoned if not child.reap()]
        self._child = Child(self._read)
        self.deadline = now + READ_SECONDS

    def work(self) -> Work | None:
        """Return the new work after the child has exited; None before, or to keep the workers.

        Raises the exceptions of `read` and `take`, and `ChildFailed`.
        """
        child = self._child
        if child is None or not child.has_ended():
            return None
        self._child = None
        return self._take(child.result())

    def close(self) -> None:
        """In a new worker: close the supervisor's descriptors."""
        for child in self.readings:
            child.close()

    def abandon(self) -> None:
        """Kill the running child, if any, without waiting for its exit."""
        if self._child is not None:
            self._child.kill()
            self._abandoned.append(self._child)
            self._child = None
