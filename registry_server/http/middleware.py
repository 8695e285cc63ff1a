"""Plain ASGI wrappers around the application.

They cost next to nothing; Starlette's BaseHTTPMiddleware took a dispatch from 14 to 190
microseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Iterable
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_server.http import envelope, redirects
from registry_server.logs import ACCESS_LOGGER

_SAFE = "/:@+~"
_OUTSIDE = "/outside"  # no route has such a path
_CORS = b"access-control-"

logger = logging.getLogger(__name__)
access_logger = logging.getLogger(ACCESS_LOGGER)


class Headers:
    """Adds the configured headers to every response.

    Below the path `private`, CORS headers are left out: no web page may read those responses.
    """

    def __init__(
        self, app: ASGIApp, extra: Iterable[tuple[str, str]], private: str | None = None
    ) -> None:
        self._app = app
        self._extra = [(name.lower().encode(), value.encode()) for name, value in extra]
        self._private = private
        self._unshared = [line for line in self._extra if not line[0].startswith(_CORS)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extra = self._extra
        if self._private is not None and scope["path"].startswith(self._private):
            extra = self._unshared

        def send_more(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *extra]
            return send(message)

        await self._app(scope, receive, send_more)


class InFlight:
    """The number of requests in flight, so that a shutdown can wait for their cleanup.

    `with in_flight:` counts one request.
    """

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        self._count += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def finished(self, seconds: float | None) -> None:
        """Return when no request is in flight, or after `seconds`; None means no timeout."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)


class InFlightTracker:
    """Counts requests in flight, and answers those that the end of the drain cancels."""

    def __init__(self, app: ASGIApp, in_flight: InFlight) -> None:
        self._app = app
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _TrackedResponse(send)
        with self._in_flight:
            try:
                await self._app(scope, receive, answer)
            except asyncio.CancelledError:
                # The server cancels requests that outlast the drain, then closes the connection.
                await _refuse_cancelled(scope, answer)


class _TrackedResponse:
    """Sends a response, and records whether it has begun: then no other can be sent."""

    __slots__ = ("_send", "has_begun")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    def __call__(self, message: Message) -> Awaitable[None]:
        self.has_begun = True
        return self._send(message)


async def _refuse_cancelled(scope: Scope, answer: _TrackedResponse) -> None:
    """Log that a request was cancelled, and send 503 if no response has begun."""
    path = quote(scope["path"], safe=_SAFE)
    logger.warning("%s %s was cancelled: the drain timed out", scope["method"], path)
    if answer.has_begun:
        return
    # The code is CNCF distribution's; the spec has none.
    body = envelope.body([envelope.entry("UNAVAILABLE", "the registry is shutting down")])
    headers = envelope.last_headers(body)
    await answer({"type": "http.response.start", "status": 503, "headers": headers})
    await answer({"type": "http.response.body", "body": body})


class RejectNewlines:
    """Stops paths with a newline: route expressions match them, because `$` ignores a final one.

    The audit log compares paths exactly, so it would miss what such a request does.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "\n" in scope["path"]:
            scope = {**scope, "path": _OUTSIDE}
        await self._app(scope, receive, send)


class StripPrefix:
    """Strips `http.prefix` from paths; of the paths outside it, only `/` is served.

    A path that is not clean keeps its prefix, and the dispatcher redirects it.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and redirects.is_clean(scope["path"]):
            scope = {**scope, "path": self._stripped(scope["path"])}
        await self._app(scope, receive, send)

    def _stripped(self, path: str) -> str:
        if path.startswith(f"{self._prefix}/"):
            return path[len(self._prefix) :]
        # Load balancers request `/`, whatever the prefix is.
        return path if path == "/" else _OUTSIDE


class AccessLog:
    """Logs each request: client address, method, path, status, bytes of body, milliseconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, sent = 0, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                # A body, or a part of a file that the kernel sends.
                sent += message.get("count", 0) or len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            if status:
                _log(scope, status, sent, time.perf_counter() - started)


def _log(scope: Scope, status: int, sent: int, seconds: float) -> None:
    client = scope["client"][0] if scope.get("client") else "-"
    # The path was decoded; quoting keeps newlines out of the log. The query may have secrets.
    path = quote(scope["path"], safe=_SAFE)
    access_logger.info(
        "%s %s %s %d %d %.1fms", client, scope["method"], path, status, sent, seconds * 1000
    )
