"""Limits the requests per second, of each client and of all clients together."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http.clients import client_address, limit_key
from registry_server.http.too_many_requests import TooManyRequests, refuse, whole_seconds
from registry_server.limits.buckets import Buckets

# The path of load balancer checks, which has no limit: removing a busy server overloads the others.
_HEALTH = "/"
_ALL = ""


class RequestLimits:
    """Refuses requests over a rate in requests per second; 0 means no limit.

    A burst may have `burst` requests, or those of one second if that is more. A client without an
    address has no limit of its own. The wrapper reads paths without `http.prefix`, so it must run
    after the prefix is stripped.
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
        if scope["type"] == "http" and scope["path"] != _HEALTH:
            wait = self._take(scope)
            if wait:
                await refuse(scope, send, TooManyRequests(whole_seconds(wait)))
                return
        await self._app(scope, receive, send)

    def _take(self, scope: Scope) -> int:
        """Count a request and return 0; over a limit, count nothing and return the wait in ns."""
        client = limit_key(self._address(scope)) if self._clients is not None else ""
        candidates = ((self._clients if client else None, client), (self._all, _ALL))
        limits = [(buckets, key) for buckets, key in candidates if buckets is not None]
        wait = max((buckets.wait(key) for buckets, key in limits), default=0)
        if not wait:
            for buckets, key in limits:
                buckets.take(key)
        return wait
