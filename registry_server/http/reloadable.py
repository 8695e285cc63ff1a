"""An ASGI application that replaces its settings while it serves; new requests see the new ones."""

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
from registry_server.http.in_flight import InFlight, InFlightTracker

logger = logging.getLogger(__name__)

# Starts a background job, which runs until it is cancelled.
BackgroundJob: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

# Seconds in which cancelled uploads save their progress, including an fsync on a slow disk. The
# supervisor kills a worker that takes longer; then a resumed upload has to be hashed again.
_SAVE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class AppAndJobs:
    """The application and the background jobs built from one version of the settings."""

    app: ASGIApp
    jobs: tuple[BackgroundJob, ...] = ()


class Reloadable:
    """The ASGI application: passes each request to the application of the newest generation.

    `make` builds a generation from settings. The lifespan starts the background jobs and ends with
    `close`.
    """

    def __init__(
        self,
        make: Callable[[Settings], AppAndJobs],
        settings: Settings,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._make = make
        self._close = close
        self._newest = _Generation(make(settings))
        self._draining: set[_Generation] = set()
        self._watchers: set[asyncio.Task[None]] = set()
        self._jobs = _BackgroundJobs()
        self._lifespan = Router(lifespan=self._lifespan_of_app)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request; it keeps the settings it began with."""
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        return self._newest.app(scope, receive, send)

    async def apply(self, settings: Settings) -> None:
        """Apply `settings` to new requests; return when the background jobs use them too.

        A log line reports when the last request of the old generation has ended; from then on the
        old settings have no effect.
        """
        # In a thread, because it reads the files of users, rules and keys.
        newest = _Generation(await asyncio.to_thread(self._make, settings))
        before, self._newest = self._newest, newest
        self._draining.add(before)
        await self._jobs.replace(newest.jobs)
        watcher = asyncio.create_task(self._log_drained(before))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _log_drained(self, before: _Generation) -> None:
        await before.in_flight.finished(None)
        self._draining.remove(before)
        logger.info("every request that began before the reload has ended")

    @contextlib.asynccontextmanager
    async def _lifespan_of_app(self, _: object) -> AsyncIterator[None]:
        await self._jobs.replace(self._newest.jobs)
        try:
            yield
        finally:
            for watcher in self._watchers:
                watcher.cancel()
            await self._jobs.replace(())
            # Requests that outlasted the drain were cancelled and save the progress of uploads.
            generations = (*self._draining, self._newest)
            left = [generation.in_flight.finished(_SAVE_SECONDS) for generation in generations]
            await asyncio.gather(*left)
            await self._close()


class _Generation:
    """The application built from one version of the settings, and its requests in flight."""

    def __init__(self, built: AppAndJobs) -> None:
        self.in_flight = InFlight()
        self.app = InFlightTracker(built.app, self.in_flight)
        self.jobs = built.jobs


class _BackgroundJobs:
    """Background jobs; new ones start after all the old ones have ended."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def replace(self, jobs: Iterable[BackgroundJob]) -> None:
        """Cancel the running tasks, wait for them, then start `jobs`."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = [asyncio.create_task(job()) for job in jobs]
