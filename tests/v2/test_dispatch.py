"""Dispatch by path, and the rendering of unforeseen exceptions."""

from __future__ import annotations

import json
import posixpath
import re
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request as HandlerRequest
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from registry_server.access.interfaces import OpenAccess
from registry_server.http import envelope
from registry_server.v2.accel_redirect import AccelRedirect
from registry_server.v2.dispatch import Dispatcher, Handler, Route
from registry_server.v2.gate import Gate
from registry_server.v2.responses import EncodedResponse, encoded
from registry_server.v2.routes import routes
from registry_server.v2.urls import Urls
from storage.drivers.memory import MemoryDriver
from storage.repository.registry import StoredRegistry
from tests.v2.asgi import Answer, Request, ask
from tests.v2.pushes import DIGEST

GATE = Gate(StoredRegistry(MemoryDriver()), OpenAccess())
TABLE = routes(GATE, Urls(), AccelRedirect(), None, 100)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get")


def telling(path: str) -> Handler:
    """Return a handler that answers with its path and the parameters."""

    async def tell(request: HandlerRequest) -> Response:
        return JSONResponse([path, request.path_params])

    return tell


async def rest(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand in for the application outside `/v2`."""
    await Response("rest")(scope, receive, send)


TELLING = Dispatcher(
    [Route(one.path, dict.fromkeys(one.handlers, telling(one.path))) for one in TABLE], rest
)


def pattern(route: Route) -> str:
    """Return the path of an endpoint as a regular expression; no fixed part needs escaping."""
    parameters = re.sub("<(?!name>)([a-z]+)>", r"(?P<\1>[^/]+)", route.path)
    return parameters.replace("<name>", "(?P<name>.*)")


def expected(method: str, path: str) -> tuple[int, object]:
    """Match the table as a list of greedy patterns, one for each path."""
    plain = posixpath.normpath(path)
    if plain + "/" * (path.endswith("/") and plain != "/") != path:
        return 301, quote(plain + "/" * (path.endswith("/") and plain != "/"), safe="/:@&=+$,")
    if path == f"{plain}/" and not has_endpoint(path) and has_endpoint(plain):
        return 301, quote(plain, safe="/:@&=+$,")
    allowed: set[str] = set()
    for one in TABLE:
        found = re.fullmatch(pattern(one), path, re.DOTALL)
        if found and ("GET" if method == "HEAD" else method) in one.handlers:
            return 200, [one.path, found.groupdict()]
        allowed |= one.methods if found else set()
    if not allowed:
        return 404, None
    return 200 if method == "OPTIONS" else 405, ", ".join(sorted(allowed))


def has_endpoint(path: str) -> bool:
    """Tell whether a path is in the table, for any method."""
    return any(re.fullmatch(pattern(one), path, re.DOTALL) for one in TABLE)


def told(answer: Answer) -> tuple[int, object]:
    """Return the status of a response, and what it says about the path."""
    if answer.status == 200 and answer.body:
        return 200, json.loads(answer.body)
    said = answer.headers.get(b"location" if answer.status == 301 else b"allow")
    return answer.status, None if said is None else said.decode()


segments = st.sampled_from(
    ["v2", "a", "app", "blobs", "uploads", "manifests", "tags", "list", "referrers", "_catalog", "",
     "<name>", "<digest>", "\n", "é", "tags\n", DIGEST]
) | st.text(max_size=5)  # fmt: skip
paths = st.lists(segments, max_size=7).map(lambda found: "/v2/" + "/".join(found))


@given(method=st.sampled_from(METHODS), path=paths)
@example("GET", "/v2")
@example("GET", "/v2/a/manifests/b/manifests/c")
@example("GET", "/v2//manifests/c")
@example("PUT", "/v2/a/manifests/c/")
@example("GET", "/v2/_catalog/")
@example("GET", "/v2/tags/list/")
@example("POST", "/v2/a/blobs/uploads//")
@example("GET", "/v2/a/./tags/../tags/list/")
@example("GET", "/v2/..")
@example("GET", "/v2/manifests/c")
@example("GET", "/v2/blobs/uploads/c")
@example("POST", "/v2/a/blobs/uploads")
@example("PUT", "/v2/a/blobs/uploads")
@example("POST", "/v2/a/blobs/uploads/")
@example("GET", "/v2/a/blobs/uploads/tags/list")
@example("GET", "/v2/a/tags/list\n")
async def test_a_path_selects_the_endpoint_of_the_table(method: str, path: str) -> None:
    """Matching from the right gives the same parameters, 404 and 405 as the patterns."""
    assert told(await ask(TELLING, Request(method, path))) == expected(method, path)


def test_no_two_endpoints_have_the_same_path_and_method() -> None:
    """So the order of the table does not matter."""
    assert len({one.path for one in TABLE}) == len(TABLE)
    for path in ("/v2/a/blobs/uploads", "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/x"):
        for method in METHODS:
            answering = [
                one.path
                for one in TABLE
                if method in one.handlers
                and re.fullmatch(re.sub("<[a-z]+>", "[^/]+", one.path), path)
            ]
            assert len(answering) <= 1, (method, path)


@pytest.mark.parametrize("path", ["/", "/v2x", "/v2x/", "/v", "/V2/", "/api/v2/"])
async def test_other_paths_are_passed_on(path: str) -> None:
    """Another application answers them, without the API version."""
    answer = await ask(TELLING, Request(path=path))
    assert answer.body == b"rest"
    assert b"docker-distribution-api-version" not in answer.headers


async def outcome(handler: Handler) -> tuple[list[Message], Exception | None]:
    """Return what is sent for a handler's response, and what is raised to the server."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    app = Dispatcher([Route("/v2/", {"GET": handler})], rest)
    scope = {"type": "http", "method": "GET", "path": "/v2/", "headers": []}
    try:
        await app(scope, receive, send)
    except Exception as error:
        return sent, error
    return sent, None


async def test_an_unforeseen_exception_is_answered_and_raised() -> None:
    """The client gets 500 in the envelope, and the server logs the exception."""

    async def fail(request: HandlerRequest) -> Response:
        raise ZeroDivisionError("the handler's mistake")

    sent, raised = await outcome(fail)
    start, body = sent
    assert isinstance(raised, ZeroDivisionError)
    assert start["status"] == 500
    (error,) = json.loads(body["body"])["errors"]
    assert error["code"] == "UNKNOWN"
    assert "mistake" not in error["message"]


async def test_a_response_that_fails_midway_is_not_answered_twice() -> None:
    """The exception is raised to the server, which closes the connection."""

    class Breaking(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise OSError("the disk broke")

    async def breaking(request: HandlerRequest) -> Response:
        return Breaking()

    sent, raised = await outcome(breaking)
    assert isinstance(raised, OSError)
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_cached_headers_are_sent_unchanged() -> None:
    """They already have the API version, and a second response has the same headers."""
    kept = encoded({"X": "y"})

    async def handler(request: HandlerRequest) -> Response:
        return EncodedResponse(b"", kept)

    for _ in range(2):
        (start, _body), _ = await outcome(handler)
        assert list(start["headers"]) == [(b"x", b"y"), envelope.API_VERSION]
