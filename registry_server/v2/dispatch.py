"""Dispatches requests by path to their handlers, and renders the exceptions of handlers.

A path is matched from the right: its last two segments select the route, and the segments before
them are the name of the repository, which may therefore be `a/manifests/b`. The gate refuses
invalid names. Paths are already percent-decoded. A path with `//`, `.` or `..`, or with one slash
too many at its end, is redirected as in CNCF distribution.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http import envelope, errors, redirects
from registry_server.v2.responses import EncodedResponse

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Admission: TypeAlias = Callable[[Request], Awaitable[None]]

_BELOW = "/v2/"
_MOST_PATHS = 2048
_SHORT = 512  # characters; longer paths are not cached
_NAMED = f"{_BELOW}<name>"


@dataclass(frozen=True, slots=True)
class Route:
    """A path and the handler of each method; GET's handler also serves HEAD.

    The path is fixed, or begins with `/v2/<name>`. Its last segment may be a parameter in angle
    brackets, which matches any segment that is not empty.
    """

    path: str
    handlers: Mapping[str, Handler]

    def handler(self, method: str) -> Handler | None:
        """Return the handler of `method`, or None."""
        return self.handlers.get("GET" if method == "HEAD" else method)

    @property
    def methods(self) -> set[str]:
        """The methods for the Allow header."""
        return {*self.handlers, "HEAD"} if "GET" in self.handlers else {*self.handlers}


class _Tail:
    """The part of a route's path after the name, to match the path of a request."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self._before, self.kind, self._last = _split(route.path.removeprefix(_NAMED))
        self._parameter = self._last[1:-1] if self._last.startswith("<") else ""

    def match(self, before: str, last: str) -> dict[str, str] | None:
        """Return the parameters of a path that ends with this tail, or None if it does not.

        The segment before `last` is known to be equal to `kind`.
        """
        end = len(before) - len(self._before)
        if end < len(_BELOW) or not before.endswith(self._before):
            return None
        if self._parameter and last:
            return {"name": before[len(_BELOW) : end], self._parameter: last}
        return {"name": before[len(_BELOW) : end]} if last == self._last else None


async def admit_all(_: Request) -> None:
    """Admit every caller."""


class Dispatcher:
    """Serves all paths under `/v2`, and passes other paths to the application `rest`.

    `prefix` is `http.prefix`, for redirects. `admit` raises an exception of the error table unless
    the caller of OPTIONS may see the methods of a path.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        rest: ASGIApp,
        prefix: str = "",
        admit: Admission = admit_all,
    ) -> None:
        self._rest = redirects.CleanPaths(rest)
        self._prefix = prefix
        self._admit = admit
        self._fixed: dict[str, Route] = {}
        self._tails: dict[str, list[_Tail]] = {}
        for route in routes:
            if route.path.startswith(_NAMED):
                tail = _Tail(route)
                self._tails.setdefault(tail.kind, []).append(tail)
            else:
                self._fixed[route.path] = route
        # The nodes of a cluster request the same few paths.
        self._match_cached = lru_cache(maxsize=_MOST_PATHS)(self._match)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; after an unforeseen exception is answered, it is raised again."""
        if scope["type"] != "http" or not (scope["path"] + "/").startswith(_BELOW):
            await self._rest(scope, receive, send)
            return
        request = Request(scope, receive)
        unforeseen: Exception | None = None
        try:
            answer = await self._handler(scope)(request)
        except Exception as error:
            answer = await self._refusal(request, error)
            unforeseen = None if errors.is_expected(error) else error
        if not isinstance(answer, EncodedResponse):
            answer.raw_headers.append(envelope.API_VERSION)
        await answer(scope, receive, send)
        if unforeseen is not None:
            raise unforeseen

    def _handler(self, scope: Scope) -> Handler:
        """Return the handler of a request, and set the path parameters in its scope."""
        known = False
        for route, parameters in self._matching(scope["path"]):
            known = True
            handler = route.handler(scope["method"])
            if handler is not None:
                scope["path_params"] = parameters
                return handler
        if known and scope["method"] == "OPTIONS":
            return self._options
        target = "" if known else self._redirect_target(scope["path"])
        if target:
            return partial(_redirect_to, target)
        raise HTTPException(405 if known else 404)

    def _redirect_target(self, path: str) -> str:
        """Return the path to redirect to from one without a route, or ""."""
        if not redirects.is_clean(path):
            # `StripPrefix` leaves the prefix of such a path in place.
            return redirects.clean(path)
        plain = path.removesuffix("/")
        return f"{self._prefix}{plain}" if plain != path and self._matching(plain) else ""

    async def _options(self, request: Request) -> Response:
        """Answer OPTIONS with the methods of the path (RFC 9110, section 9.3.7).

        For the preflight request of a browser, the configured headers say what a page may send. It
        needs status 200 (Fetch, "CORS-preflight fetch").
        """
        await self._admit(request)
        return Response(headers={"Allow": self._allowed(request.scope["path"])})

    def _allowed(self, path: str, without: Iterable[str] = ()) -> str:
        methods = {method for route, _ in self._matching(path) for method in route.methods}
        return ", ".join(sorted(methods.difference(without)))

    def _matching(self, path: str) -> list[tuple[Route, dict[str, str]]]:
        return self._match_cached(path) if len(path) <= _SHORT else self._match(path)

    def _match(self, path: str) -> list[tuple[Route, dict[str, str]]]:
        """Return the routes that match this path, with the values of their parameters."""
        if not redirects.is_clean(path):
            return []
        fixed = self._fixed.get(path)
        if fixed is not None:
            return [(fixed, {})]
        before, kind, last = _split(path)
        matches = []
        for tail in self._tails.get(kind, ()):
            parameters = tail.match(before, last)
            if parameters is not None:
                matches.append((tail.route, parameters))
        return matches

    async def _refusal(self, request: Request, error: Exception) -> Response:
        answer = await errors.render(request, error)
        if answer.status_code == 405:
            allowed = self._allowed(request.scope["path"], errors.switched_off(error))
            answer.headers["Allow"] = allowed
        return answer


async def _redirect_to(target: str, request: Request) -> Response:
    return redirects.redirect(request.scope, target)


def _split(path: str) -> tuple[str, str, str]:
    """Return the path before the last two segments, and these two."""
    before, _, last = path.rpartition("/")
    before, _, kind = before.rpartition("/")
    return before, kind, last
