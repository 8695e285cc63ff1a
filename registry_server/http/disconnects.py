"""Cancels work when its client disconnects."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from storage.concurrency.cancellation import race

T = TypeVar("T")


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected; the rest of the body is discarded."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; cancel it and raise `ClientDisconnect` on a disconnect."""
    return await race(work, disconnected(receive), ClientDisconnect)
