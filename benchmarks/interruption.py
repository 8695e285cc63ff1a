"""Defers Ctrl-C and SIGTERM while something is started or cleaned up.

An interruption between the start of a server and the moment its pid is known would leave the server
running.
"""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """How many blocks defer interruptions, and whether one is pending."""

    holding = 0
    came = False


def install() -> None:
    """Make the signals raise `KeyboardInterrupt`, except those that this process ignores."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextmanager
def held_back() -> Iterator[None]:
    """Defer an interruption to the end of the block."""
    _State.holding += 1
    try:
        yield
    finally:
        _State.holding -= 1
        if _State.came and not _State.holding:
            _State.came = False
            raise KeyboardInterrupt


@contextmanager
def temporary_folder(parent: Path | None) -> Iterator[Path]:
    """Create a folder for the block, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="registry-bench-", dir=parent))
    try:
        yield folder
    finally:
        with held_back():
            shutil.rmtree(folder)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    if not _State.holding:
        raise KeyboardInterrupt
    _State.came = True
