"""What long work tells of itself while it goes on, and by what it is told to end."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears how far work has come, from the thread or task that does it; must not block."""

    def step(self, phase: str, done: int, total: int | None) -> None:
        """`done` of `total` are done of what `phase` names; None when nobody knows the total."""


class Silence:
    """Hears nothing."""

    def step(self, phase: str, done: int, total: int | None) -> None:
        """Do nothing."""


class Stop:
    """A wish that work ends soon, where it can be gone on with or begun again."""

    def __init__(self) -> None:
        self.is_wished = False

    def wish(self) -> None:
        """Have the work end; calling it twice is fine."""
        self.is_wished = True

    def heed(self) -> None:
        """Raise `Stopped` if it is wished: for work that has come to nothing yet."""
        if self.is_wished:
            raise Stopped


class Stopped(Exception):
    """Work ended because it was wished, without anything to show for it."""
