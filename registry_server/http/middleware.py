"""Plain ASGI wrappers around the application.

They cost next to nothing; Starlette's BaseHTTPMiddleware took a dispatch from 14 to 190
microseconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_server.http import redirects

_OUTSIDE = "/outside"  # no route has such a path
_CORS = b"access-control-"


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
