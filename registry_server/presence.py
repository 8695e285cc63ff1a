"""Work that ends when its client disconnects."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from storage.concurrency import race

T = TypeVar("T")


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected; what arrives of a body meanwhile is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` does; cancel it, and raise `ClientDisconnect`, when the client leaves."""
    return await race(work, disconnected(receive), ClientDisconnect)
