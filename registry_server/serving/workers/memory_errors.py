"""Ends a worker that runs out of memory outside of any request."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypeAlias

from storage.concurrency.memory_exhaustion import exit_process

_Context: TypeAlias = dict[str, Any]


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """End the process when a callback of `loop` or of an executor raises `MemoryError`.

    A request may wait for that callback without limit. An error in a connection's own callback ends
    only that connection.
    """
    loop.set_exception_handler(_handle)
    futures = logging.getLogger("concurrent.futures")
    futures.removeFilter(_passes)
    futures.addFilter(_passes)


def _handle(loop: asyncio.AbstractEventLoop, context: _Context) -> None:
    if isinstance(context.get("exception"), MemoryError) and "transport" not in context:
        exit_process()
    loop.default_exception_handler(context)


def _passes(record: logging.LogRecord) -> bool:
    """Inspect the callback exceptions that `concurrent.futures` logs."""
    if record.exc_info and isinstance(record.exc_info[1], MemoryError):
        exit_process()
    return True
