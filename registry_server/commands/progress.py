"""Progress of long work on stderr, and stopping it by a signal.

A terminal shows a bar; other outputs get a line every 30 seconds.
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
from storage.maintenance.progress import NoProgress, Stop
from storage.maintenance.progress import Progress as Listener

if TYPE_CHECKING:  # imported late: rich is slow to import
    from rich.progress import Progress, TaskID

# Seconds between two lines.
_LINE_EVERY = 30.0
# Seconds in which several signals count as one: timeout(1) sends its signal twice.
_SAME_SIGNAL = 1.0


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Listener]:
    """Show the progress that the block reports, unless `quiet`."""
    if quiet:
        yield NoProgress()
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
        # Text printed on the same terminal appears above the bar.
        redirect_stdout=sys.stdout.isatty(),
    )


def ended_by_signals(stop: Stop) -> AbstractContextManager[None]:
    """Request a stop on SIGINT or SIGTERM; call this on the event loop."""
    return on_signals(stop.request)


@contextmanager
def on_signals(call: Callable[[], object]) -> Iterator[None]:
    """Call `call` on the event loop for each SIGINT and SIGTERM; the second ends the program.

    The loop does not handle signals while it is blocked, by output that is not read or by a thread
    that it waits for. A command may be killed at any time; its locks are released then.
    """
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    end = _SecondSignal()
    for number in numbers:
        loop.add_signal_handler(number, call)
        # This still wakes the loop, and the handler runs even while a write blocks.
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _SecondSignal:
    """A signal handler that ends the program at the second signal."""

    def __init__(self) -> None:
        self._first: float | None = None

    def __call__(self, *_: object) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first >= _SAME_SIGNAL:
            os._exit(INTERRUPTED)  # SIG_DFL would not end the first process of a container (PID 1)


class Lines:
    """Prints a line every 30 seconds; work that ends sooner prints none."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _LINE_EVERY

    def step(self, phase: str, done: int, total: int | None) -> None:
        """Print the progress of a phase if a line is due."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _LINE_EVERY
            typer.echo(f"registry-server: {phase}: {amount(done, total)}", err=True)


class Bars:
    """Shows a bar for each phase."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def step(self, phase: str, done: int, total: int | None) -> None:
        """Update the bar of a phase."""
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(phase, total=total, done="")
        text = amount(done, total)
        self._bars.update(self._tasks[phase], completed=done, total=total, done=text)


def amount(done: int, total: int | None) -> str:
    """Return the progress as a percentage, or as a number without a total."""
    return str(done) if total is None else f"{done * 100 // max(total, 1)}%"
