"""Cross-origin requests (Fetch, "CORS protocol"): which web pages may read responses.

It grants no access: pages need credentials like every client. Browsers send preflights without
credentials, so these are answered before authentication.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_Lines: TypeAlias = Sequence[tuple[bytes, bytes]]

_ANY = "*"
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = "Authorization, Accept, Content-Type, Range, If-None-Match, Content-Range"
# Readable by scripts in addition to the safelisted ones (Fetch, "CORS-safelisted response-header
# name").
_RESPONSE_HEADERS = (
    "Docker-Content-Digest, Docker-Distribution-Api-Version, Docker-Upload-UUID, WWW-Authenticate, "
    "Link, Location, Range, Content-Range, ETag, Retry-After, OCI-Filters-Applied, OCI-Subject, "
    "OCI-Tag, X-Request-Id"
)


class Cors:
    """Lets pages of some origins read every response, also refusals."""

    def __init__(
        self,
        app: ASGIApp,
        origins: Iterable[str],
        max_age: int,
        *,
        credentials: bool = False,
        private: str | None = None,
    ) -> None:
        """Allow `origins` as browsers write them, or `*` for all, which excludes `credentials`.

        Browsers cache a preflight for `max_age` seconds. Paths below `private` are for no page: a
        page that shows images must not make keys.
        """
        self._app = app
        self._private = private
        named = frozenset(origin.encode() for origin in origins)
        self._any = _ANY.encode() in named
        allowed = [_ANY.encode()] if self._any else sorted(named)
        exposed, preflight = _exposed_headers(), _preflight_headers(max_age)
        self._responses = {origin: _lines(origin, credentials, exposed) for origin in allowed}
        self._preflights = {origin: _lines(origin, credentials, preflight) for origin in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an allowed preflight with 204; add headers to the response of other requests."""
        if scope["type"] != "http" or self._is_private(scope["path"]):
            await self._app(scope, receive, send)
            return
        origin = self._allowed(scope)
        if origin in self._preflights and _is_preflight(scope):
            headers = self._with(self._preflights[origin], ())
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        own = self._responses.get(origin, ())

        def send_more(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = self._with(own, message["headers"])
            return send(message)

        await self._app(scope, receive, send_more)

    def _is_private(self, path: str) -> bool:
        return self._private is not None and path.startswith(self._private)

    def _allowed(self, scope: Scope) -> bytes:
        """Return the request's origin if it may read the response, else b""."""
        if self._any:
            return _ANY.encode()
        origins = _fields(scope, b"origin")
        return origins[0] if len(origins) == 1 and origins[0] in self._responses else b""

    def _with(self, own: _Lines, lines: _Lines) -> _Lines:
        """Return the header lines of a response, with `own` replacing those of the same names."""
        names = {name for name, _ in own}
        kept = [line for line in lines if line[0] != b"vary" and line[0].lower() not in names]
        varies = [value for name, value in lines if name == b"vary"]
        # Also in responses to requests without an origin, which a cache must not give to a page.
        varies += [] if self._any else [b"Origin"]
        return [*kept, *own, *([(b"vary", b", ".join(varies))] if varies else [])]


def _lines(origin: bytes, credentials: bool, more: Iterable[tuple[bytes, str]]) -> _Lines:
    lines = [(b"access-control-allow-origin", origin)]
    if credentials:
        lines.append((b"access-control-allow-credentials", b"true"))
    return (*lines, *((name, value.encode()) for name, value in more))


def _exposed_headers() -> list[tuple[bytes, str]]:
    return [(b"access-control-expose-headers", _RESPONSE_HEADERS)]


def _preflight_headers(max_age: int) -> list[tuple[bytes, str]]:
    return [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _REQUEST_HEADERS),
        (b"access-control-max-age", str(max_age)),
    ]


def _is_preflight(scope: Scope) -> bool:
    return (
        scope["method"] == "OPTIONS"
        and bool(_fields(scope, b"origin"))
        and bool(_fields(scope, b"access-control-request-method"))
    )


def _fields(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]
