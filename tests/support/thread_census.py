"""Which threads this process has, as the system counts them.

`threading.enumerate` does not know threads that `_thread` began, and keeps a thread that asked
for its name after it has ended.
"""

from __future__ import annotations

import asyncio
import threading
import time

import psutil
import uvloop

_SECONDS_TO_END = 5.0


def make_lasting_threads() -> None:
    """Have libuv make its threads, which it keeps until the process ends."""

    async def look_up() -> None:
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(look_up())


def running_threads() -> frozenset[int]:
    """Return the system's numbers of all threads."""
    return frozenset(thread.id for thread in psutil.Process().threads())


def threads_beyond(known: frozenset[int]) -> set[str]:
    """Return the names of other threads; a thread that was joined may need a moment to end."""
    deadline = time.monotonic() + _SECONDS_TO_END
    while (left := running_threads() - known) and time.monotonic() < deadline:
        time.sleep(0.001)
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    return {names.get(number, f"thread {number}") for number in left}
