"""The whole application in the test's own process, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from registry_server.app import build
from registry_server.config import Settings
from storage.drivers.base import Driver


@asynccontextmanager
async def serve_in_process(settings: Settings, driver: Driver) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the application; what it does not turn into an answer is raised here."""
    # In a thread, as files of users, rules and keys are read.
    app = await asyncio.to_thread(build, settings, driver)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        yield client
