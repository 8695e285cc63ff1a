"""Forks a process that calls one function and exits."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from registry_server.serving.workers.signals import signals_blocked
from storage.concurrency.memory_exhaustion import exit_process

logger = logging.getLogger(__name__)

_FAILED = 1


def fork(function: Callable[[], None], report: Callable[[], None] | None = None) -> int:
    """Call `function` in a new process; return the process id.

    The signals in `HANDLED` are blocked in the new process until it unblocks them. The parent must
    have no other threads. `report` reports an exception of `function` in the new process; the
    default logs it. Raises OSError or MemoryError if the fork fails.
    """
    with signals_blocked():
        _flush()  # otherwise both processes would print the buffered text
        pid = os.fork()
        if pid == 0:
            _call(function, report or _log)
    return pid


def _call(function: Callable[[], None], report: Callable[[], None]) -> NoReturn:
    """Call the function and exit the process without joining its threads."""
    code = _FAILED
    try:
        function()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else _FAILED
    except MemoryError:
        exit_process()
    except BaseException:
        report()
    finally:
        try:
            _flush()
        finally:
            os._exit(code)


def _log() -> None:
    # The interpreter would print the traceback in its own format.
    logger.critical("a worker failed", exc_info=True)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # None where the descriptor is closed
            stream.flush()


def why_not_forked(error: OSError | MemoryError) -> str:
    """Return the reason of a failed fork, for the log."""
    reason = error.strerror if isinstance(error, OSError) else "out of memory"
    return f"can't fork a process: {reason}"
