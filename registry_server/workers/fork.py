"""Forking a process that calls one function and ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from registry_server.workers.signals import held_back
from storage.exhaustion import leave

logger = logging.getLogger(__name__)

_FAILED = 1


def fork(function: Callable[[], None], report: Callable[[], None] | None = None) -> int:
    """Call `function` in a new process; return the process's id.

    The signals of `HANDLED` are held back in the new process until it lets them through. The parent
    must have no other threads. `report` tells, in the new process, of the exception that is being
    handled; without it the log does. Raises OSError when no process can be forked.
    """
    with held_back():
        _flush()  # or the new process would print buffered text once more
        pid = os.fork()
        if pid == 0:
            _call(function, report or _log)
    return pid


def _call(function: Callable[[], None], report: Callable[[], None]) -> NoReturn:
    """Call the function and end the process; threads that are blocked do not keep it."""
    code = _FAILED
    try:
        function()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else _FAILED
    except MemoryError:
        leave()
    except BaseException:
        report()
    finally:
        try:
            _flush()
        finally:
            os._exit(code)


def _log() -> None:
    # The interpreter would print the traceback, not in the format of the log.
    logger.critical("a worker failed", exc_info=True)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # None where the descriptor is closed
            stream.flush()
