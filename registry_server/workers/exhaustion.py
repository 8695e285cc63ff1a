"""What ends a worker that has no memory left: a failed allocation outside of any request."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypeAlias

from storage.exhaustion import leave

_Context: TypeAlias = dict[str, Any]


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """End the process when a callback of `loop` or of an executor gets no memory.

    The callback could have been the one that a request waits for. An error of a connection ends
    that connection alone.
    """
    loop.set_exception_handler(_handle)
    futures = logging.getLogger("concurrent.futures")
    futures.removeFilter(_passes)
    futures.addFilter(_passes)


def _handle(loop: asyncio.AbstractEventLoop, context: _Context) -> None:
    if isinstance(context.get("exception"), MemoryError) and "transport" not in context:
        leave()
    loop.default_exception_handler(context)


def _passes(record: logging.LogRecord) -> bool:
    """Look at what `concurrent.futures` logs: the exceptions of its callbacks."""
    if record.exc_info and isinstance(record.exc_info[1], MemoryError):
        leave()
    return True
