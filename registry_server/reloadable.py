"""An application whose settings change while it serves: the next request sees the new ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.config import Settings
from registry_server.middleware import Counted, InFlight

logger = logging.getLogger(__name__)

# Begins a task that goes on beside the requests, until it is cancelled.
Chore: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

# Seconds for an fsync of what a slow disk still has in its cache. The supervisor kills a worker
# that takes longer; then an upload is hashed again when it is resumed.
_LAST_WORDS = 8.0


@dataclass(frozen=True, slots=True)
class Serving:
    """What is done by one state of the settings: requests are answered, and chores beside them."""

    app: ASGIApp
    chores: tuple[Chore, ...] = ()


class Reloadable:
    """The ASGI application: each request is answered by what `make` made of the newest settings.

    Its lifespan begins with the chores and ends with `close`.
    """

    def __init__(
        self,
        make: Callable[[Settings], Serving],
        settings: Settings,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._make = make
        self._close = close
        self._now = _Generation(make(settings))
        self._elder: set[_Generation] = set()
        self._watchers: set[asyncio.Task[None]] = set()
        self._chores = _Chores()
        self._lifespan = Router(lifespan=self._live)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request; it goes on by the settings it began with."""
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        return self._now.app(scope, receive, send)

    async def use(self, settings: Settings) -> None:
        """Have new requests answered by `settings`; return when the chores go by them too.

        A line of the log says when the last request from before has ended: from then on nothing
        is done by the old settings any more.
        """
        # In a thread: files of users, rules and keys are read.
        made = _Generation(await asyncio.to_thread(self._make, settings))
        before, self._now = self._now, made
        self._elder.add(before)
        await self._chores.replace(made.chores)
        watcher = asyncio.create_task(self._see_off(before))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _see_off(self, before: _Generation) -> None:
        await before.in_flight.finished(None)
        self._elder.remove(before)
        logger.info("every request that began before the reload has ended")

    @contextlib.asynccontextmanager
    async def _live(self, _: object) -> AsyncIterator[None]:
        await self._chores.replace(self._now.chores)
        try:
            yield
        finally:
            for watcher in self._watchers:
                watcher.cancel()
            await self._chores.replace(())
            # Requests that outlasted the drain were cancelled a moment ago, and are writing down
            # how far their uploads came.
            left = [each.in_flight.finished(_LAST_WORDS) for each in (*self._elder, self._now)]
            await asyncio.gather(*left)
            await self._close()


class _Generation:
    """What one state of the settings made, and the requests that go on in it."""

    def __init__(self, serving: Serving) -> None:
        self.in_flight = InFlight()
        self.app = Counted(serving.app, self.in_flight)
        self.chores = serving.chores


class _Chores:
    """Tasks beside the requests; the next ones begin when all before them have ended."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def replace(self, chores: Iterable[Chore]) -> None:
        """End what goes on, then begin with `chores`."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = [asyncio.create_task(chore()) for chore in chores]
