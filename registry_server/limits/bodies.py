"""How fast the bodies of requests have to come, where that is not the server's own default."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http1.pace import KEEP, Pace


class BodyPace:
    """Has the server hold each body to `pace`; another server than ours knows nothing of it."""

    def __init__(self, app: ASGIApp, pace: Pace) -> None:
        self._app = app
        self._pace = pace

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on."""
        keep = scope.get(KEEP)
        if keep is not None:
            keep(self._pace)
        return self._app(scope, receive, send)
