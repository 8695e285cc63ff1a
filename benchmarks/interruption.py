"""Ctrl-C and SIGTERM, held back while something is started or tidied up.

An interruption between the start of a server and the moment when we know its pid would leave it
running for ever.
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
    """How many blocks hold interruptions back, and whether one came meanwhile."""

    holding = 0
    came = False


def install() -> None:
    """Let the signals raise `KeyboardInterrupt`, but for those this process was told to ignore."""
    for each in SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _interrupt)


@contextmanager
def held_back() -> Iterator[None]:
    """Let an interruption wait for the end of the block."""
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
    """Make a folder for the block, and remove it whatever happens."""
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
