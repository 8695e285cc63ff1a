"""The whole application in the test's own process, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.types import ASGIApp, Message

from registry_server.config import Settings
from registry_server.wiring.app import build
from storage.drivers.base import Driver
from tests.support.secrets import Witnessed

ADDRESS = "127.0.0.1"


@asynccontextmanager
async def serve_in_process(settings: Settings, driver: Driver) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the application; exceptions that it does not answer are raised here."""
    # In a thread, because it reads files of users, rules and keys.
    app = await asyncio.to_thread(build, settings, driver)
    async with _client(app, ADDRESS) as client:
        yield client


@asynccontextmanager
async def lived(
    settings: Settings, driver: Driver, address: str = ADDRESS
) -> AsyncIterator[httpx.AsyncClient]:
    """Like `serve_in_process`, from an address, with the startup and shutdown of the lifespan.

    After the block every line of the audit log is written.
    """
    app = await asyncio.to_thread(build, settings, driver)
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan", "state": {}}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    await outbox.get()
    async with _client(app, address) as client:
        yield client
    await inbox.put({"type": "lifespan.shutdown"})
    await life


def _client(app: ASGIApp, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=Witnessed(app), client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://registry")
