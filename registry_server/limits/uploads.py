"""Limits the concurrent uploads, of each client and of all clients together.

Running requests that bring bytes are counted. An upload session between two such requests, which
may last for days, is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http.clients import client_address, limit_key
from registry_server.http.too_many_requests import TooManyRequests, refuse

_UPLOADS = "/blobs/uploads"
# Seconds: a guess, because the end of a running upload can't be predicted.
_RETRY_AFTER = 5


class UploadLimits:
    """Refuses uploads over the limits before any of their bytes are read; 0 means no limit.

    A client without an address has no limit of its own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_client: int = 0,
        total: int = 0,
        address: Callable[[Scope], str] = client_address,
    ) -> None:
        self._app = app
        self._per_client = per_client
        self._total = total
        self._address = address
        # By client; entries without a running upload are deleted.
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 429."""
        if not _is_upload(scope):
            await self._app(scope, receive, send)
            return
        client = limit_key(self._address(scope))
        if self._is_full(client):
            problem = TooManyRequests(_RETRY_AFTER, "too many concurrent uploads")
            await refuse(scope, send, problem)
            return
        with self._one_more(client):
            await self._app(scope, receive, send)

    def _is_full(self, client: str) -> bool:
        if 0 < self._total <= self._running.total():
            return True
        return bool(client) and 0 < self._per_client <= self._running[client]

    @contextmanager
    def _one_more(self, client: str) -> Iterator[None]:
        self._running[client] += 1
        try:
            yield
        finally:
            self._running[client] -= 1
            if not self._running[client]:
                del self._running[client]


def _is_upload(scope: Scope) -> bool:
    """Return whether a request brings bytes of a blob, by its path as the dispatcher reads it."""
    if scope["type"] != "http":
        return False
    path: str = scope["path"]
    if not path.endswith(_UPLOADS) and not path.rpartition("/")[0].endswith(_UPLOADS):
        return False
    return any(map(_announces_body, scope["headers"]))


def _announces_body(line: tuple[bytes, bytes]) -> bool:
    """Return whether a header announces a body (RFC 9112, section 6)."""
    name, value = line
    return name == b"transfer-encoding" or (name == b"content-length" and bool(value.strip(b"0")))
