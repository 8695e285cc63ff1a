"""The end of a process that is told to stop while it starts, even when the start hangs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from registry_server.workers.signals import ENDING, hold_back, let_ending_through

# Seconds after SIGTERM or SIGINT in which the start finishes, and with it the stop.
SECONDS = 15.0


@contextlib.contextmanager
def ended_in_time() -> Iterator[None]:
    """Have the kernel end the process, by SIGALRM, if the block takes long after SIGTERM or SIGINT.

    A file that the start reads may be a pipe, or lie on a disk that hangs. The signals are held
    back again after the block; those that came meanwhile are delivered to their former handlers
    when they are let through. Call this while they are held back. The timer is not stopped:
    whatever handles the signals next sets its own.
    """
    received: list[int] = []

    def end_soon(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        end_after(SECONDS)

    before = [(each, signal.signal(each, end_soon)) for each in ENDING]
    let_ending_through()
    yield
    hold_back()
    for each, handler in before:
        signal.signal(each, handler)
    for number in received:
        os.kill(os.getpid(), number)


def end_after(seconds: float) -> None:
    """Have the kernel end this process, by SIGALRM."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it may be inherited as ignored
    signal.setitimer(signal.ITIMER_REAL, seconds)
