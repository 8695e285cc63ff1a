"""An application that answers when it is released, and its clients with addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(slots=True)
class Held:
    """Reads a body and answers when it is released."""

    free: asyncio.Event = field(default_factory=asyncio.Event)
    seen: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200."""
        self.seen += 1
        await receive()
        await self.free.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def at_once() -> Held:
    """Return one that is released."""
    app = Held()
    app.free.set()
    return app


@dataclass(slots=True)
class Got:
    """The response to a client, and whether the body was read."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    was_read: bool = False


async def ask(
    app: ASGIApp,
    address: str | None = "192.0.2.7",
    *,
    method: str = "GET",
    path: str = "/v2/",
    headers: Sequence[tuple[bytes, bytes]] = (),
    kind: str = "http",
) -> Got:
    """Send a request from an address; None is a unix socket."""
    got = Got()

    async def receive() -> Message:
        got.was_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            got.status, got.headers = message["status"], dict(message["headers"])
        else:
            got.body += message["body"]

    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": list(headers),
        "client": address and (address, 1234),
    }
    await app(scope, receive, send)
    return got
