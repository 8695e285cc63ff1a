"""Pipes that nothing reads, and processes that block in one."""

from __future__ import annotations

import os
from pathlib import Path

from tests.live.transfers import until


def fill_log(pid: int) -> None:
    """Fill the pipe that is the standard error of a process."""
    pipe = os.open(f"/proc/{pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(pipe, b"." * 4096)
    except BlockingIOError:
        pass
    finally:
        os.close(pipe)


def wait_until_it_blocks(pid: int) -> None:
    """Wait until a process waits for a pipe to be read."""
    until(lambda: is_blocked(pid), "it blocks in its log")


def is_blocked(pid: int) -> bool:
    """Tell whether a thread of a process waits for a pipe to be read."""
    places = Path(f"/proc/{pid}/task").glob("*/wchan")
    return any("pipe_write" in place.read_text() for place in places)
