"""How long work reports its progress, and how it is asked to stop."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress reports, from the thread or task that does the work; must not block."""

    def step(self, phase: str, done: int, total: int | None) -> None:
        """Report that `done` of `total` are done in `phase`; None when the total is unknown."""


class NoProgress:
    """Ignores progress reports."""

    def step(self, phase: str, done: int, total: int | None) -> None:
        """Do nothing."""


class Stop:
    """A request to stop work early, where it can be continued or repeated."""

    def __init__(self) -> None:
        self.is_requested = False

    def request(self) -> None:
        """Ask the work to stop; calling it twice does nothing more."""
        self.is_requested = True

    def raise_if_requested(self) -> None:
        """Raise `Stopped` if a stop was requested: for work without a partial result."""
        if self.is_requested:
            raise Stopped


class Stopped(Exception):
    """Work was stopped on request and has no result."""
