"""ForkedCall processes that call one function, so that its memory is freed when they exit."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import BinaryIO, Generic, TypeVar

from registry_server.serving.workers.fork import fork
from registry_server.serving.workers.signals import HANDLED, unblock_signals

Result = TypeVar("Result")

_PART = 64 << 10  # bytes a read
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


class ForkedCallFailed(Exception):
    """The child process exited without sending an outcome.

    `code` is its exit code, or the negative number of the signal that killed it.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"the child process ended with exit code {code}")
        self.code = code


class ForkedCall(Generic[Result]):
    """A forked process that calls `function` once and inherits the standard streams.

    The parent must have no other threads. The function's result or exception must be picklable.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        """Fork the process; raise OSError or MemoryError if that fails."""
        reader, writer = os.pipe()
        self._pipe = os.fdopen(reader, "rb", buffering=0)
        self._outcome = bytearray()
        with os.fdopen(writer, "wb") as channel:
            work = partial(_send_outcome, function, channel, os.getpid())
            try:
                # The log may not be configured yet.
                self._pid = fork(work, report=traceback.print_exc)
            except (OSError, MemoryError):
                self._pipe.close()
                raise

    def fileno(self) -> int:
        """Return the descriptor; it is readable when `has_ended` would not block."""
        return self._pipe.fileno()

    def has_ended(self) -> bool:
        """Read from the process, block if nothing has arrived; return True at the end."""
        part = self._pipe.read(_PART)
        self._outcome += part
        return not part

    def kill(self) -> None:
        """Send SIGKILL without waiting for the exit; the outcome is lost."""
        os.kill(self._pid, signal.SIGKILL)
        self._pipe.close()

    def close(self) -> None:
        """Close the pipe in a process that was forked after the child."""
        self._pipe.close()

    def reap(self) -> bool:
        """Reap the process after `kill`; return False if it has not exited yet."""
        return os.waitpid(self._pid, os.WNOHANG)[0] != 0

    def result(self) -> Result:
        """Wait for the exit; return the function's result or raise its exception.

        Call it once. Raises `ForkedCallFailed` if a signal killed the process, or if it could not
        send the outcome; then it has printed the reason.
        """
        with self._pipe:
            while not self.has_ended():
                pass
        _, status = os.waitpid(self._pid, 0)
        if status != 0 or not self._outcome:
            raise ForkedCallFailed(os.waitstatus_to_exitcode(status))
        result: Result
        result, error = pickle.loads(self._outcome)  # noqa: S301 (from a process of our own)
        if error is not None:
            raise error
        return result


def _send_outcome(function: Callable[[], Result], channel: BinaryIO, parent: int) -> None:
    """In the child: call the function and send its outcome."""
    _bind_to(parent)
    channel.write(pickle.dumps(_outcome(function)))
    channel.flush()


def _bind_to(parent: int) -> None:
    """Ignore the signals that the parent handles, and have the kernel kill the child with it.

    A terminal and a process manager send their signals to the parent as well.
    """
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
    unblock_signals()
    # On other systems the child exits only when the function returns.
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # the parent exited before `prctl`
        os._exit(1)


def _outcome(function: Callable[[], Result]) -> tuple[Result | None, BaseException | None]:
    """Return the function's result, or the exception that it raises."""
    try:
        return function(), None
    except SystemExit as error:
        return None, error
    except Exception as error:
        error.add_note(traceback.format_exc())  # a traceback cannot be pickled
        return None, error
