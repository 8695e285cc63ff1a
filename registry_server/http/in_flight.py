"""Requests in flight: a shutdown waits for them, and those that outlast the drain are answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_server.http import envelope, refusals
from registry_server.http.context import context_of
from registry_server.logs import LONGEST_PATH, cut

logger = logging.getLogger(__name__)

_SAFE = "/:@+~"
# The code is CNCF distribution's; the spec has none.
_CODE, _MESSAGE = "UNAVAILABLE", "the registry is shutting down"


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
    """Counts requests in flight."""

    def __init__(self, app: ASGIApp, in_flight: InFlight) -> None:
        self._app = app
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._in_flight:
            await self._app(scope, receive, send)


class CancelledRequests:
    """Answers the requests that the end of the drain cancels; inside the access log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _TrackedResponse(send)
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
    path = cut(quote(scope["path"], safe=_SAFE), LONGEST_PATH)
    extra = {"request": context_of(scope).id}
    logger.warning("%s %s was cancelled: the drain timed out", scope["method"], path, extra=extra)
    refusals.record(scope, _CODE, _MESSAGE)
    if answer.has_begun:
        return
    body = envelope.body([envelope.entry(_CODE, _MESSAGE)])
    headers = envelope.last_headers(body)
    await answer({"type": "http.response.start", "status": 503, "headers": headers})
    await answer({"type": "http.response.body", "body": body})
