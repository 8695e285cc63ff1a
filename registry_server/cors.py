"""Cross-origin requests (Fetch, "CORS protocol"): which web pages may read what is answered.

It decides nothing about access: a page shows credentials, or is refused like anybody. A browser
asks before it sends any, so what it asks then is answered before they are looked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_Lines: TypeAlias = Sequence[tuple[bytes, bytes]]

_ANY = "*"
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKED_WITH = "Authorization, Accept, Content-Type, Range, If-None-Match, Content-Range"
# What a script reads off an answer beside what any may (Fetch, "CORS-safelisted response-header
# name").
_ANSWERED_WITH = (
    "Docker-Content-Digest, Docker-Distribution-Api-Version, Docker-Upload-UUID, WWW-Authenticate, "
    "Link, Location, Range, Content-Range, ETag, Retry-After, OCI-Filters-Applied, OCI-Subject, "
    "OCI-Tag"
)


class Cors:
    """Lets pages of some origins read every answer, refusals as well."""

    def __init__(
        self,
        app: ASGIApp,
        origins: Iterable[str],
        max_age: int,
        *,
        credentials: bool = False,
        not_below: str | None = None,
    ) -> None:
        """Take `origins` as browsers write them, or `*` for all, which excludes `credentials`.

        `max_age` is for how many seconds a browser need not ask again. What is `not_below` some
        path is for no page: who shows images to one need not have it make keys.
        """
        self._app = app
        self._not_below = not_below
        named = frozenset(origin.encode() for origin in origins)
        self._any = _ANY.encode() in named
        allowed = [_ANY.encode()] if self._any else sorted(named)
        self._read = {each: _lines(each, credentials, _reading()) for each in allowed}
        self._asked = {each: _lines(each, credentials, _asking(max_age)) for each in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser that asks first with 204; pass anything else on."""
        if scope["type"] != "http" or self._is_for_none(scope["path"]):
            await self._app(scope, receive, send)
            return
        origin = self._allowed(scope)
        if origin in self._asked and _asks_first(scope):
            headers = self._with(self._asked[origin], ())
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        own = self._read.get(origin, ())

        def send_more(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = self._with(own, message["headers"])
            return send(message)

        await self._app(scope, receive, send_more)

    def _is_for_none(self, path: str) -> bool:
        return self._not_below is not None and path.startswith(self._not_below)

    def _allowed(self, scope: Scope) -> bytes:
        """Return the origin that may read the answer; nothing when that is none of ours."""
        if self._any:
            return _ANY.encode()
        shown = _fields(scope, b"origin")
        return shown[0] if len(shown) == 1 and shown[0] in self._read else b""

    def _with(self, own: _Lines, lines: _Lines) -> _Lines:
        """Return the lines of an answer with our `own`, which stand in for those of their names."""
        names = {name for name, _ in own}
        kept = [line for line in lines if line[0] != b"vary" and line[0].lower() not in names]
        varies = [value for name, value in lines if name == b"vary"]
        # On every answer, also to whoever has no origin: a cache must not give it to who has one.
        varies += [] if self._any else [b"Origin"]
        return [*kept, *own, *([(b"vary", b", ".join(varies))] if varies else [])]


def _lines(origin: bytes, credentials: bool, more: Iterable[tuple[bytes, str]]) -> _Lines:
    lines = [(b"access-control-allow-origin", origin)]
    if credentials:
        lines.append((b"access-control-allow-credentials", b"true"))
    return (*lines, *((name, value.encode()) for name, value in more))


def _reading() -> Iterable[tuple[bytes, str]]:
    return [(b"access-control-expose-headers", _ANSWERED_WITH)]


def _asking(max_age: int) -> Iterable[tuple[bytes, str]]:
    return [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _ASKED_WITH),
        (b"access-control-max-age", str(max_age)),
    ]


def _asks_first(scope: Scope) -> bool:
    """Tell whether this is a preflight: what a browser sends before a request of another origin."""
    return (
        scope["method"] == "OPTIONS"
        and bool(_fields(scope, b"origin"))
        and bool(_fields(scope, b"access-control-request-method"))
    )


def _fields(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]
