"""Redirects from an unclean path to the clean one, as CNCF distribution sends them.

Clients that join URLs from parts send `//v2/`, or an additional slash at the end. The target is
always a path of this server: it begins with one slash, and special characters are quoted. A target
of more than LONGEST bytes is refused with 414: a response that repeats a long request would wait in
memory for a client that does not read it.
"""

from __future__ import annotations

from string import punctuation
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http.refusals import Refusal, refuse

# Bytes; the longest path of an endpoint has about 500.
LONGEST = 4 << 10

_SAFE = "/:@&=+$,~"


class TargetTooLong(Refusal):
    """The target of a redirect has more than LONGEST bytes."""

    status = 414
    code = "UNSUPPORTED"


def is_clean(path: str) -> bool:
    """Return whether `clean` returns a path unchanged."""
    # The first test is cheap, and true for nearly all paths.
    return ("//" not in path and "/." not in path) or clean(path) == path


def clean(path: str) -> str:
    """Return a path without empty segments, `.` and `..`; a trailing slash is kept."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return f"/{'/'.join(kept)}{end}"


def redirect(scope: Scope, path: str) -> Response:
    """Return a redirect to `path`, with the query of the request; raise `TargetTooLong`."""
    query = quote(scope["query_string"], safe=punctuation)
    target = quote(path, safe=_SAFE) + (f"?{query}" if query else "")
    if len(target) > LONGEST:
        raise TargetTooLong(f"a path that is redirected has at most {LONGEST} bytes")
    return Response(status_code=301, headers={"Location": target})


class CleanPaths:
    """Redirects a request whose path is not clean."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or redirect it."""
        if scope["type"] != "http" or is_clean(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            answer = redirect(scope, clean(scope["path"]))
        except TargetTooLong as error:
            await refuse(scope, send, error.status, error.code, str(error))
        else:
            await answer(scope, receive, send)
