"""Waiting until one of several descriptors can be read."""

from __future__ import annotations

import math
import select
from collections.abc import Iterable
from typing import Protocol


class Source(Protocol):
    """A socket, or what reads from a pipe."""

    def fileno(self) -> int:
        """Return the descriptor."""


def wait(sources: Iterable[Source], seconds: float) -> list[Source]:
    """Return those of `sources` that can be read or have ended, after `seconds` at the latest."""
    by_number = {each.fileno(): each for each in sources}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(math.ceil(seconds * 1000))]
