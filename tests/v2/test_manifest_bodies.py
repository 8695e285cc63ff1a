"""Pushed manifests together take a limited part of a worker's memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.v2.manifest_bodies import MOST_BYTES
from registry_server.wiring.app import build
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.values.manifests import MANIFEST_LIMIT
from tests.v2.asgi import Request, ask, scope_of
from tests.v2.pushes import BASE

SMALL = Request("PUT", f"{BASE}/manifests/v1", body=b"{")
LARGE = Request("PUT", f"{BASE}/manifests/v1", body=b"[" * MANIFEST_LIMIT)


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """Give an empty registry."""
    return build(validated(Settings, {}), FilesystemDriver(tmp_path))


async def push_slowly(app: ASGIApp, arrived: asyncio.Semaphore, rest: asyncio.Event) -> None:
    """Send all of a large manifest but its end, and disconnect at `rest`."""
    parts = [LARGE.body]

    async def receive() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": True}
        arrived.release()
        await rest.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """Ignore the response."""

    await app(scope_of(LARGE), receive, send)


async def test_a_large_manifest_beyond_the_limit_must_retry(app: ASGIApp) -> None:
    """A body counts until its request ends; small ones are always accepted."""
    arrived, rest = asyncio.Semaphore(0), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(MOST_BYTES // MANIFEST_LIMIT):
            tasks.create_task(push_slowly(app, arrived, rest))
            await arrived.acquire()
        refused, small = await ask(app, LARGE), await ask(app, SMALL)
        rest.set()
    assert (refused.status, refused.headers[b"retry-after"]) == (429, b"5")
    assert b"too many large manifests at once" in refused.body
    assert small.status == 400
    for _ in range(2 * MOST_BYTES // MANIFEST_LIMIT):
        assert (await ask(app, LARGE)).status == 400
