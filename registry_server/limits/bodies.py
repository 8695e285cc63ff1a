"""The minimum pace of request bodies, if it is not the server's default."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http.extensions import KEEP, Pace


class BodyPace:
    """Sets the pace that the server enforces for each body; other servers than ours ignore it."""

    def __init__(self, app: ASGIApp, pace: Pace) -> None:
        self._app = app
        self._pace = pace

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        keep = scope.get(KEEP)
        if keep is not None:
            keep(self._pace)
        return self._app(scope, receive, send)
