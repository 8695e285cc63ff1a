"""Progress of long work on stderr, and its end by a signal.

A terminal gets a bar, everything else a line now and then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import typer

from registry_server.commands.exit_codes import INTERRUPTED
from storage.maintenance.progress import Progress as Listener
from storage.maintenance.progress import Silence, Stop

if TYPE_CHECKING:  # who serves imports every command, and needs none of this
    from rich.progress import Progress, TaskID

# Seconds. A log that is read by people need not have more.
_LINE_EVERY = 30.0
# Seconds in which several signals count as one: timeout(1) sends its signal twice.
_SAME_SIGNAL = 1.0


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Listener]:
    """Show the progress of what runs within, unless `quiet`."""
    if quiet:
        yield Silence()
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    with _bars() as bars:
        yield Bars(bars)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        # What is printed goes above the bar, except when it goes into a file.
        redirect_stdout=sys.stdout.isatty(),
    )


def ended_by_signals(stop: Stop) -> AbstractContextManager[None]:
    """Wish for an end when SIGINT or SIGTERM comes; call this on the event loop."""
    return on_signals(stop.wish)


@contextmanager
def on_signals(call: Callable[[], object]) -> Iterator[None]:
    """Call `call` on the event loop for each SIGINT and SIGTERM; end the program at the second.

    The loop never hears of a signal while output that is not read blocks it, or a thread that it
    waits for. Every command may be killed at any moment, and its locks are released then.
    """
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    end = _SecondSignal()
    for number in numbers:
        loop.add_signal_handler(number, call)
        # The loop is woken all the same. This handler also runs while a write blocks.
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _SecondSignal:
    """A signal handler that ends the program when its first signal has not ended it."""

    def __init__(self) -> None:
        self._first: float | None = None

    def __call__(self, *_: object) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first >= _SAME_SIGNAL:
            os._exit(INTERRUPTED)  # a handler of our own: the kernel spares a first process (PID 1)


class Lines:
    """A plain line when one is due; work that is done sooner is not worth one."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _LINE_EVERY

    def step(self, phase: str, done: int, total: int | None) -> None:
        """Print how far a phase has come, if it is time."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _LINE_EVERY
            typer.echo(f"registry-server: {phase}: {amount(done, total)}", err=True)


class Bars:
    """A bar for each phase."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def step(self, phase: str, done: int, total: int | None) -> None:
        """Move a phase's bar."""
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(phase, total=total, done="")
        text = amount(done, total)
        self._bars.update(self._tasks[phase], completed=done, total=total, done=text)


def amount(done: int, total: int | None) -> str:
    """Say how much of something is done."""
    return str(done) if total is None else f"{done * 100 // max(total, 1)}%"
