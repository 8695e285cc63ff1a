"""Finishing what must not be left half done when a request is cancelled, and ending the rest.

What is raised here lets go of the task it came from, as in `storage.sharing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_completion(work: Awaitable[T]) -> T:
    """Await `work` to its end even if the caller is cancelled, then let the cancellation go on."""
    task = asyncio.ensure_future(work)
    del work  # it may be the task itself
    cancelled: asyncio.CancelledError | None = None
    try:
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                if task.cancelled():
                    raise
                cancelled = error
            except Exception:  # raised again by result(), below
                break
        if cancelled is not None:
            if not task.cancelled():
                task.exception()  # seen; the cancellation is what the caller asked for
            raise cancelled
        return task.result()
    finally:
        del task, cancelled


async def race(
    work: Coroutine[Any, Any, T], end: Coroutine[Any, Any, object], error: type[Exception]
) -> T:
    """Return what `work` returns; cancel it, and raise `error`, when `end` returns first."""
    task, ending = asyncio.create_task(work), asyncio.create_task(end)
    del work
    try:
        await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise error
    finally:
        task.cancel()
        ending.cancel()
        del task


async def or_undone(work: Awaitable[T], undo: Callable[[T], object]) -> T:
    """Await `work` to its end; if the caller was cancelled meanwhile, `undo` what came of it."""
    task = asyncio.ensure_future(work)
    del work
    try:
        return await to_completion(task)
    except asyncio.CancelledError:
        if not task.cancelled() and task.exception() is None:
            undo(task.result())
        raise
    finally:
        del task
