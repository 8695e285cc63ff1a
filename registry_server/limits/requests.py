"""How many requests a second are answered: of one client, and of all together."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.clients import client_address, counted_as
from registry_server.limits.buckets import Buckets
from registry_server.limits.problems import TooManyRequests, refuse, whole_seconds

# What load balancers ask: who takes a busy server for a dead one makes the others busier.
_ALIVE = "/"
_ALL = ""


class RequestLimits:
    """Refuses requests over a rate, which is in requests a second; 0 is no limit.

    A client, or all of them, may make `burst` at once, or what the rate allows in a second if that
    is more. A client without an address counts among all of them only. It reads paths without a
    prefix, so it stands behind what strips that.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_client: int = 0,
        total: int = 0,
        burst: int = 1,
        address: Callable[[Scope], str] = client_address,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        def buckets(rate: int) -> Buckets | None:
            return Buckets(rate, max(burst, rate), clock=clock) if rate else None

        self._app = app
        self._address = address
        self._clients = buckets(per_client)
        self._all = buckets(total)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 429."""
        if scope["type"] == "http" and scope["path"] != _ALIVE:
            wait = self._take(scope)
            if wait:
                await refuse(send, TooManyRequests(whole_seconds(wait)))
                return
        await self._app(scope, receive, send)

    def _take(self, scope: Scope) -> int:
        """Count a request; if it is one too many count nothing, and return how long to wait."""
        client = counted_as(self._address(scope)) if self._clients is not None else ""
        found = ((self._clients if client else None, client), (self._all, _ALL))
        buckets = [(each, key) for each, key in found if each is not None]
        wait = max((each.wait(key) for each, key in buckets), default=0)
        if not wait:
            for each, key in buckets:
                each.take(key)
        return wait
