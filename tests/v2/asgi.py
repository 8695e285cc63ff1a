"""Sends requests to the application as a server would, including malformed ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.types import ASGIApp, Message


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is decoded, as servers do; everything else is as on the wire."""

    method: str = "GET"
    path: str = "/v2/"
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    version: str = "1.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response; header names are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def ask(app: ASGIApp, request: Request) -> Answer:
    """Send one request; raise what the application raises."""
    sent: list[Message] = []
    received = [{"type": "http.request", "body": request.body, "more_body": False}]

    async def receive() -> Message:
        if not received:
            await asyncio.Event().wait()  # the client stays
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope_of(request), receive, send)
    start, body = sent[0], b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(start["status"], dict(start["headers"]), body)


def scope_of(request: Request) -> dict[str, object]:
    """Return the ASGI scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.version,
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": quote(request.path).encode(),
        "query_string": request.query,
        "root_path": "",
        "headers": list(request.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 5000),
        "state": {},
    }
