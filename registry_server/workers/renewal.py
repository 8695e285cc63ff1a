"""A reload as the supervisor sees it: a child process reads, and there may be new work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from registry_server.workers.child import Child
from registry_server.workers.work import Work

T = TypeVar("T")

# Seconds; a configuration can be a pipe, and the files it names can lie on a disk that hangs.
READ_SECONDS = 60.0


class Renewal(Generic[T]):
    """Calls `read` in a child process, so that the supervisor handles signals meanwhile.

    `take` makes new work of what `read` returns, or None to keep the workers.
    """

    def __init__(self, read: Callable[[], T], take: Callable[[T], Work | None]) -> None:
        self._read = read
        self._take = take
        self._child: Child[T] | None = None
        self._abandoned: list[Child[T]] = []
        self.deadline = 0.0

    @property
    def readings(self) -> list[Child[T]]:
        """Return the child that reads, if one does; it is readable when `work` need not wait."""
        return [self._child] if self._child is not None else []

    def begin(self, now: float) -> None:
        """Begin to read; raise OSError if no process can be forked."""
        self._abandoned = [each for each in self._abandoned if not each.reap()]
        self._child = Child(self._read)
        self.deadline = now + READ_SECONDS

    def work(self) -> Work | None:
        """Return the new work once the child has ended; None before that, or to keep the workers.

        Raises what `read` or `take` raise, and `ChildFailed`.
        """
        child = self._child
        if child is None or not child.has_ended():
            return None
        self._child = None
        return self._take(child.result())

    def let_go(self) -> None:
        """In a process just forked: close what is the supervisor's."""
        for child in self.readings:
            child.let_go()

    def abandon(self) -> None:
        """Kill the child, if one reads; do not wait for its end."""
        if self._child is not None:
            self._child.kill()
            self._abandoned.append(self._child)
            self._child = None
