"""Helpers for cancellation: complete work that must not be left half done, and cancel the rest.

An exception raised here keeps no reference to the task it came from, as in
`storage.concurrency.sharing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_completion(work: Awaitable[T]) -> T:
    """Await `work` to its end even if the caller is cancelled, then raise the cancellation."""
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
                task.exception()  # marks it as retrieved: the caller gets the cancellation
            raise cancelled
        return task.result()
    finally:
        del task, cancelled


async def race(
    work: Coroutine[Any, Any, T], end: Coroutine[Any, Any, object], error: type[Exception]
) -> T:
    """Return the result of `work`; if `end` returns first, cancel `work` and raise `error`."""
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
    """Await `work` to its end; if the caller was cancelled meanwhile, `undo` its result."""
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
