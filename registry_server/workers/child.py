"""A function that is called in a process of its own, so that the memory it takes is given back."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Generic, NoReturn, TypeVar

from registry_server.workers.signals import HANDLED, held_back, let_through

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


class ChildFailed(Exception):
    """The process ended without a result; `code` is minus the signal that ended it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the process for it ended with exit code {code}")
        self.code = code


class Child(Generic[Result]):
    """A forked process that calls `function`, with the same standard input and output.

    The process that forks it must have no other threads. Results and exceptions have to be
    picklable.
    """

    def __init__(self, function: Callable[[], Result]) -> None:
        reader, writer = os.pipe()
        self._answer = os.fdopen(reader, "rb")
        with os.fdopen(writer, "wb") as channel, held_back():
            _flush()  # or the child would print it once more
            parent = os.getpid()
            self._pid = os.fork()
            if self._pid == 0:
                _call(function, channel, parent)

    def result(self) -> Result:
        """Wait for the end of the call, once; return what it returned, or raise what it raised.

        Raises `ChildFailed` when the process was killed, or printed why it has no answer.
        """
        with self._answer:
            answer = self._answer.read()
        _, status = os.waitpid(self._pid, 0)
        if not answer:
            raise ChildFailed(os.waitstatus_to_exitcode(status))
        result: Result
        result, error = pickle.loads(answer)  # noqa: S301 (from a process of our own)
        if error is not None:
            raise error
        return result


def _call(function: Callable[[], Result], channel: BinaryIO, parent: int) -> NoReturn:
    """In the child: call the function, send the answer, and end, whatever the parent has open."""
    code = 1
    try:
        _leave_to(parent)
        channel.write(pickle.dumps(_answer(function)))
        channel.flush()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            _flush()
        finally:
            os._exit(code)


def _leave_to(parent: int) -> None:
    """Leave it to the parent when to end, and end with it.

    A terminal and a process manager send signals to the parent as well.
    """
    signal.set_wakeup_fd(-1)
    for each in HANDLED:
        signal.signal(each, signal.SIG_IGN)
    let_through()
    # Where this is not possible, the child ends by itself once it has read.
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _answer(function: Callable[[], Result]) -> tuple[Result | None, BaseException | None]:
    try:
        return function(), None
    except SystemExit as error:
        return None, error
    except Exception as error:
        error.add_note(traceback.format_exc())  # the traceback itself cannot be sent
        return None, error


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # None where the descriptor is closed
            stream.flush()
