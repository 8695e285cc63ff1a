"""What happens to a process that gets no memory for its bookkeeping."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.live.programs import environment

PROGRAM = """
import asyncio, threading
from registry_server.serving.workers import memory_errors
from registry_server.serving.workers.executor import PreparedExecutor
from storage.drivers.filesystem.in_order import InOrder
from storage.concurrency.threads import Threads

def fail(*_):
    raise MemoryError

class Forgetful(asyncio.SelectorEventLoop):
    def call_soon_threadsafe(self, callback, *args, **kwargs):
        return fail() if threading.current_thread() is not threading.main_thread() else \
            super().call_soon_threadsafe(callback, *args, **kwargs)

class ForgetsOnce(asyncio.SelectorEventLoop):
    forgets = True

    def call_soon_threadsafe(self, callback, *args, **kwargs):
        forgets = self.forgets and threading.current_thread() is not threading.main_thread()
        self.forgets = self.forgets and not forgets
        return fail() if forgets else super().call_soon_threadsafe(callback, *args, **kwargs)

async def main():
    loop = asyncio.get_running_loop()
    memory_errors.watch(loop)
    loop.set_default_executor(PreparedExecutor())
    {what}
    print("goes on", flush=True)

with asyncio.Runner(loop_factory={loop}) as runner:
    runner.run(main())
"""
USUAL = "asyncio.SelectorEventLoop"
MESSAGE = b"registry-server: out of memory: this process ends\n"


def run(what: str, loop: str = USUAL) -> subprocess.CompletedProcess[bytes]:
    """Run a program that does `what` on a loop."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(what=what, loop=loop)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize(
    ("what", "loop"),
    [
        ("loop.call_soon(fail); await asyncio.sleep(30)", USUAL),
        ("loop.call_later(0, fail); await asyncio.sleep(30)", USUAL),
        ("await Threads(2).run(int)", "Forgetful"),
        ("await asyncio.to_thread(int)", "Forgetful"),
        ("await InOrder(Threads(2).run).put(int)", "ForgetsOnce"),
    ],
    ids=["callback", "timer", "thread", "executor", "in order"],
)
def test_it_ends_when_a_result_would_be_lost(what: str, loop: str) -> None:
    """With a message and exit code 1, and without waiting for anything."""
    done = run(what, loop)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.endswith(MESSAGE)


@pytest.mark.parametrize(
    "what",
    [
        "loop.call_exception_handler({'exception': MemoryError(), 'transport': 1, 'message': ''})",
        "await asyncio.gather(asyncio.to_thread(fail), Threads(2).run(fail), return_exceptions=1)",
        "put = InOrder(fail).put; await asyncio.gather(put(int), put(int), return_exceptions=1)",
    ],
    ids=["connection", "work", "in order"],
)
def test_it_keeps_running_when_only_a_request_fails(what: str) -> None:
    """The operation itself got no memory, or one connection did not."""
    done = run(what)
    assert (done.returncode, done.stdout) == (0, b"goes on\n")
