"""From a request's path to its handler, and from a handler's exception to its answer.

A path is read from the right: its last two segments tell the endpoint, and what is left of them
belongs to the repository, which may so be called `a/manifests/b` or anything else. The gate refuses
what is no name. Every character stands for itself; paths were decoded before. A path that is not
clean, or has one slash too many at its end, is redirected as in CNCF distribution.
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

from registry_server import envelope, errors, redirects
from registry_server.v2.responses import EncodedResponse

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Admission: TypeAlias = Callable[[Request], Awaitable[None]]

_BELOW = "/v2/"
_MOST_PATHS = 2048
_SHORT = 512  # characters of a path that is remembered
_NAMED = f"{_BELOW}<name>"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path, and what answers each of its methods; GET's handler answers HEAD as well.

    The path is fixed, or `/v2/<name>` and fixed segments, of which the last may be a parameter
    in angle brackets: any segment but an empty one.
    """

    path: str
    handlers: Mapping[str, Handler]

    def handler(self, method: str) -> Handler | None:
        """Return what answers `method`."""
        return self.handlers.get("GET" if method == "HEAD" else method)

    @property
    def methods(self) -> set[str]:
        """What Allow says."""
        return {*self.handlers, "HEAD"} if "GET" in self.handlers else {*self.handlers}


class _Tail:
    """What an endpoint's path has behind the name, to be held against the path of a request."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._before, self.kind, self._last = _split(endpoint.path.removeprefix(_NAMED))
        self._parameter = self._last[1:-1] if self._last.startswith("<") else ""

    def match(self, before: str, last: str) -> dict[str, str] | None:
        """Return the parameters of a path that ends as this does; its kind was compared."""
        end = len(before) - len(self._before)
        if end < len(_BELOW) or not before.endswith(self._before):
            return None
        if self._parameter and last:
            return {"name": before[len(_BELOW) : end], self._parameter: last}
        return {"name": before[len(_BELOW) : end]} if last == self._last else None


async def admit_all(_: Request) -> None:
    """Admit every caller."""


class Dispatcher:
    """Answers everything under `/v2`, and leaves the rest to another application.

    `prefix` is `http.prefix`, for redirects. `admit` returns if the caller of OPTIONS may learn the
    methods of a path; otherwise it raises an exception of the error table.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        rest: ASGIApp,
        prefix: str = "",
        admit: Admission = admit_all,
    ) -> None:
        self._rest = redirects.CleanPaths(rest)
        self._prefix = prefix
        self._admit = admit
        self._fixed: dict[str, Endpoint] = {}
        self._tails: dict[str, list[_Tail]] = {}
        for endpoint in endpoints:
            if endpoint.path.startswith(_NAMED):
                tail = _Tail(endpoint)
                self._tails.setdefault(tail.kind, []).append(tail)
            else:
                self._fixed[endpoint.path] = endpoint
        # Pure, and a cluster's nodes all ask for the same few paths.
        self._remembered = lru_cache(maxsize=_MOST_PATHS)(self._match)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; an unforeseen exception is answered, and raised again."""
        if scope["type"] != "http" or not (scope["path"] + "/").startswith(_BELOW):
            await self._rest(scope, receive, send)
            return
        request = Request(scope, receive)
        mistake: Exception | None = None
        try:
            answer = await self._handler(scope)(request)
        except Exception as error:
            answer = await self._refusal(request, error)
            mistake = None if errors.is_foreseen(error) else error
        if not isinstance(answer, EncodedResponse):
            answer.raw_headers.append(envelope.API_VERSION)
        await answer(scope, receive, send)
        if mistake is not None:
            raise mistake

    def _handler(self, scope: Scope) -> Handler:
        """Return what answers a request, and write the parameters of its path into its scope."""
        known = False
        for endpoint, parameters in self._matching(scope["path"]):
            known = True
            handler = endpoint.handler(scope["method"])
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
        """Return the path to redirect to from one that no endpoint has; "" for none."""
        if not redirects.is_clean(path):
            # `StripPrefix` left the prefix of such a path in place.
            return redirects.clean(path)
        plain = path.removesuffix("/")
        return f"{self._prefix}{plain}" if plain != path and self._matching(plain) else ""

    async def _options(self, request: Request) -> Response:
        """Answer OPTIONS with the methods of the path (RFC 9110, 9.3.7).

        A browser's preflight reads what a page may send from the configured headers, and needs
        status 200 (Fetch, "CORS-preflight fetch").
        """
        await self._admit(request)
        return Response(headers={"Allow": self._allowed(request.scope["path"])})

    def _allowed(self, path: str, without: Iterable[str] = ()) -> str:
        methods = {method for endpoint, _ in self._matching(path) for method in endpoint.methods}
        return ", ".join(sorted(methods.difference(without)))

    def _matching(self, path: str) -> list[tuple[Endpoint, dict[str, str]]]:
        return self._remembered(path) if len(path) <= _SHORT else self._match(path)

    def _match(self, path: str) -> list[tuple[Endpoint, dict[str, str]]]:
        """Return the endpoints that have this path, with what it says in place of parameters."""
        if not redirects.is_clean(path):
            return []
        fixed = self._fixed.get(path)
        if fixed is not None:
            return [(fixed, {})]
        before, kind, last = _split(path)
        found = []
        for tail in self._tails.get(kind, ()):
            parameters = tail.match(before, last)
            if parameters is not None:
                found.append((tail.endpoint, parameters))
        return found

    async def _refusal(self, request: Request, error: Exception) -> Response:
        answer = await errors.render(request, error)
        if answer.status_code == 405:
            allowed = self._allowed(request.scope["path"], errors.switched_off(error))
            answer.headers["Allow"] = allowed
        return answer


async def _redirect_to(target: str, request: Request) -> Response:
    return redirects.redirect(request.scope, target)


def _split(path: str) -> tuple[str, str, str]:
    """Return what comes before the last two segments, and these."""
    before, _, last = path.rpartition("/")
    before, _, kind = before.rpartition("/")
    return before, kind, last
