"""No storage is read for clients that disconnected while they waited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from starlette.types import ASGIApp, Message, Scope

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.wiring.app import build
from storage.drivers.base import Reader
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from tests.storage.content import APP, push_image

T = TypeVar("T")

MANY = 20
FIRST, SECOND, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"
# A request, and how many of its kind are served concurrently.
QUESTIONS = (
    ("GET", f"/v2/{APP}/tags/list", "last=!{}", 1),
    ("GET", "/v2/_catalog", "last=a{}", 2),
    ("POST", f"/v2/{APP}/blobs/uploads/", "mount=sha512:{:0128x}", 1),
)


class Holding(FilesystemDriver):
    """Counts the reads that have begun, and blocks them until released."""

    def __init__(self, root: Path) -> None:
        """Open a folder."""
        super().__init__(root)
        self.may_go = asyncio.Event()
        self.begun = 0

    def hold(self) -> None:
        """Block the reads that begin from now on."""
        self.may_go.clear()
        self.begun = 0

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Read, once released."""
        self.begun += 1
        await self.may_go.wait()
        return await super().batch(job)


@dataclass(frozen=True, slots=True)
class Asking:
    """Sends one kind of request to an application."""

    app: ASGIApp
    method: str
    path: str
    query: str

    async def __call__(self, number: int, client: str, *, leaves: bool = False) -> int:
        """Send a request from an address, and perhaps disconnect; return the status."""
        answers: list[Message] = []
        inbox: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if not inbox and not leaves:
                await asyncio.Event().wait()
            return inbox.pop() if inbox else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            answers.append(message)

        await self.app(self._scope(number, client), receive, send)
        status: int = answers[0]["status"]
        return status

    def _scope(self, number: int, client: str) -> Scope:
        return {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": self.method,
            "path": self.path,
            "query_string": self.query.format(number).encode(),
            "headers": [(b"host", b"registry")],
            "client": (client, 1),
            "server": ("127.0.0.1", 5000),
        }


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Holding]:
    """Give a driver whose reads block until a test releases them."""
    made = await asyncio.to_thread(Holding, tmp_path)
    made.may_go.set()
    yield made
    made.may_go.set()
    await made.close()


@pytest.mark.parametrize(("method", "path", "query", "at_once"), QUESTIONS)
async def test_no_read_begins_for_disconnected_clients(
    method: str, path: str, query: str, at_once: int, driver: Holding
) -> None:
    """However many requests wait: when the reads before them end, they are dropped."""
    await push_image(StoredRegistry(driver).repository(APP), "v1")
    app = await asyncio.to_thread(build, validated(Settings, {}), driver)
    ask = Asking(app, method, path, query)
    driver.hold()
    staying = [asyncio.create_task(ask(at, one)) for at, one in enumerate((FIRST, SECOND))]
    async with asyncio.timeout(10):
        while driver.begun < at_once:  # noqa: ASYNC110 - other tasks make it so
            await asyncio.sleep(0)
    leaving = [ask(10 + at, (FIRST, SECOND, THIRD)[at % 3], leaves=True) for at in range(MANY)]
    async with asyncio.timeout(30):
        assert await asyncio.gather(*leaving) == [400] * MANY
    assert driver.begun == at_once
    driver.may_go.set()
    answered = [*await asyncio.gather(*staying), await ask(2, THIRD)]
    assert answered == [202 if method == "POST" else 200] * 3
    assert driver.begun == 3
