"""The minimum pace of request bodies, if it is not the server's default."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http.extensions import SET_PACE, Pace


class BodyPace:
    """Sets the pace that the server enforces for each body; other servers than ours ignore it."""

    def __init__(self, app: ASGIApp, pace: Pace) -> None:
        self._app = app
        self._pace = pace

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        set_pace = scope.get(SET_PACE)
        if set_pace is not None:
            set_pace(self._pace)
        return self._app(scope, receive, send)
