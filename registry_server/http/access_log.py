"""The access log: a line for each request, whose fields `docs/configuration.md` lists.

Fields that the audit log has too have the same names. Text of clients is of limited length, and the
formatters quote it. Of the path's query nothing is logged, because it may have secrets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_server.http.context import RequestContext, context_of
from registry_server.http.extensions import RECEIVED
from registry_server.logs import ACCESS_LOGGER, LONGEST_PATH, cut, log_event

_LONGEST = 256  # characters of free text
_AGENT = b"user-agent"

access_logger = logging.getLogger(ACCESS_LOGGER)


class AccessLog:
    """Logs each request when its response is complete; `address` returns its client address."""

    def __init__(self, app: ASGIApp, address: Callable[[Scope], str]) -> None:
        self._app = app
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, sent = 0, 0

        def send_counted(message: Message) -> Awaitable[None]:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                # A body, or a part of a file that the kernel sends.
                sent += message.get("count", 0) or len(message.get("body", b""))
            return send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            if status:
                self._log(scope, status, sent, time.perf_counter() - started)

    def _log(self, scope: Scope, status: int, sent: int, seconds: float) -> None:
        context = context_of(scope)
        received = scope.get(RECEIVED)
        fields = {
            "method": scope["method"],
            "path": _path(scope),
            "status": status,
            "received": 0 if received is None else received(),
            "sent": 0 if scope["method"] == "HEAD" else sent,
            "ms": round(seconds * 1000, 1),
            "who": cut(context.actor, _LONGEST),
            "auth": context.authentication,
            "from": self._address(scope),
            "agent": _agent(scope),
            "request": context.id,
        }
        if context.code:
            fields |= _refusal(context)
        log_event(access_logger, "access", fields)


def _refusal(context: RequestContext) -> dict[str, str]:
    return {"code": context.code, "reason": cut(context.reason, _LONGEST)}


def _path(scope: Scope) -> str:
    """Return the path as it was sent; ASGI lets a server leave that out."""
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return cut(path.decode("latin-1"), LONGEST_PATH)


def _agent(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _AGENT:
            return cut(value.decode("latin-1"), _LONGEST)
    return ""
