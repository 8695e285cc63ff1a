"""Waits until one of several descriptors is readable."""

from __future__ import annotations

import math
import select
from collections.abc import Iterable
from typing import Protocol


class Source(Protocol):
    """A socket or a pipe's reader."""

    def fileno(self) -> int:
        """Return the descriptor."""


def wait_until_readable(sources: Iterable[Source], seconds: float) -> list[Source]:
    """Return the `sources` that are readable or at their end, after `seconds` at the latest."""
    by_number = {source.fileno(): source for source in sources}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(math.ceil(seconds * 1000))]
