"""Ends a process that receives SIGTERM or SIGINT during startup, even if startup hangs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from registry_server.serving.workers.signals import ENDING, block_signals, unblock_ending_signals

# Seconds after SIGTERM or SIGINT for the rest of startup and the shutdown.
SECONDS = 15.0


@contextlib.contextmanager
def startup_time_limit() -> Iterator[None]:
    """Have the kernel end the process `SECONDS` after SIGTERM or SIGINT arrives in the block.

    A file that startup reads may be a pipe, or be on a disk that hangs. Call this while the signals
    are blocked. They are blocked again after the block; those received in it are delivered to the
    previous handlers once they are unblocked. The timer keeps running: the next handler of the
    signals sets its own.
    """
    received: list[int] = []

    def end_soon(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        end_process_after(SECONDS)

    before = [(ending, signal.signal(ending, end_soon)) for ending in ENDING]
    unblock_ending_signals()
    yield
    block_signals()
    for ending, handler in before:
        signal.signal(ending, handler)
    for number in received:
        os.kill(os.getpid(), number)


def end_process_after(seconds: float) -> None:
    """Have the kernel end this process with SIGALRM after `seconds`."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it may be inherited as ignored
    signal.setitimer(signal.ITIMER_REAL, seconds)
