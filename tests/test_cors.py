"""Pages of the configured origins may read responses; other pages learn nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from registry_server.config import Settings
from registry_server.config.cors import Cors as Configured
from registry_server.config.validation import Invalid, validated
from registry_server.http.cors import Cors
from registry_server.http.middleware import Headers
from registry_server.wiring.app import build
from tests.support.drivers import AnyDriver
from tests.v2.asgi import Answer, Request, ask

UI = b"https://ui.example.com"
ELSEWHERE = b"https://elsewhere.example.com"
ALLOWED = b"access-control-allow-origin"


class Inner:
    """Answers every request in the same way, and records whether it was called."""

    def __init__(self, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.status = status
        self.headers = headers
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        self.asked += 1
        headers = tuple(self.headers)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _preflight(*origins: bytes, method: str = "OPTIONS", asks: bytes = b"PUT") -> Request:
    fields = [(b"origin", origin) for origin in origins]
    return Request(method, headers=[*fields, (b"access-control-request-method", asks)])


def _plain(*origins: bytes) -> Request:
    return Request(headers=[(b"origin", origin) for origin in origins])


def _cors_lines(answer: Answer) -> set[bytes]:
    return {name for name in answer.headers if name.startswith(b"access-control-")}


async def test_a_preflight_is_answered_before_authentication() -> None:
    """A browser learns what it may send, and for how long; the registry is not called."""
    inner = Inner(401)
    answer = await ask(Cors(inner, [UI.decode()], 600), _preflight(UI))
    assert (answer.status, answer.body, inner.asked) == (204, b"", 0)
    assert answer.headers[ALLOWED] == UI
    assert b"DELETE" in answer.headers[b"access-control-allow-methods"]
    assert b"Authorization" in answer.headers[b"access-control-allow-headers"]
    assert answer.headers[b"access-control-max-age"] == b"600"
    assert answer.headers[b"vary"] == b"Origin"
    assert b"access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "request_",
    [
        _preflight(ELSEWHERE),
        _preflight(),
        _preflight(UI, UI),
        _preflight(b"null"),
        _preflight(UI.upper()),
        _preflight(UI + b":443"),
        _preflight(UI + b".evil.example"),
        _preflight(UI, method="GET"),
        Request("OPTIONS", headers=[(b"origin", UI)]),
    ],
)
async def test_other_requests_reach_the_registry(request_: Request) -> None:
    """Preflights of other origins, and requests that resemble preflights, are passed on."""
    inner = Inner(405)
    answer = await ask(Cors(inner, [UI.decode()], 600), request_)
    assert (answer.status, inner.asked) == (405, 1)


@pytest.mark.parametrize("status", [200, 206, 401, 403, 404, 500])
async def test_a_page_of_a_configured_origin_may_read_a_response(status: int) -> None:
    """Whatever the status, the page sees the response and the headers it needs."""
    inner = Inner(status, [(b"www-authenticate", b"Bearer")])
    answer = await ask(Cors(inner, [UI.decode()], 600), _plain(UI))
    assert (answer.status, answer.headers[b"www-authenticate"]) == (status, b"Bearer")
    assert answer.headers[ALLOWED] == UI
    exposed = answer.headers[b"access-control-expose-headers"].split(b", ")
    assert {b"Docker-Content-Digest", b"WWW-Authenticate", b"Link", b"Retry-After"} <= set(exposed)


@pytest.mark.parametrize("shown", [[], [ELSEWHERE], [b"null"], [UI, ELSEWHERE], [b"*"]])
async def test_a_response_to_other_origins_only_varies(shown: list[bytes]) -> None:
    """No page may read it, and a cache does not give it to a page that may."""
    answer = await ask(Cors(Inner(), [UI.decode()], 600), _plain(*shown))
    assert _cors_lines(answer) == set()
    assert answer.headers[b"vary"] == b"Origin"


async def test_vary_is_extended_by_the_origin() -> None:
    """There is one Vary header with all names."""
    app = Cors(Inner(headers=[(b"vary", b"Accept")]), [UI.decode()], 600)
    assert (await ask(app, _plain(UI))).headers[b"vary"] == b"Accept, Origin"


async def test_a_configured_header_is_replaced() -> None:
    """A browser refuses a response with two origins, so one in `http.headers` is replaced."""
    sent: list[tuple[bytes, bytes]] = []
    app = Cors(Headers(Inner(), [("Access-Control-Allow-Origin", "*")]), [UI.decode()], 600)

    async def spy(scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: dict[str, object]) -> None:
            sent.extend(message.get("headers", ()))  # type: ignore[arg-type]
            await send(message)

        await app(scope, receive, note)  # type: ignore[arg-type]

    await ask(spy, _plain(UI))
    assert [value for name, value in sent if name == ALLOWED] == [UI]


async def test_a_star_allows_every_origin_and_does_not_vary() -> None:
    """Each response says so, with an origin or without."""
    app = Cors(Inner(), ["*"], 0)
    for request in (_plain(), _plain(ELSEWHERE), _preflight(ELSEWHERE)):
        answer = await ask(app, request)
        assert answer.headers[ALLOWED] == b"*"
        assert b"vary" not in answer.headers


async def test_credentials_of_the_browser_are_allowed_if_configured() -> None:
    """Both responses say so, or the browser would not send them."""
    app = Cors(Inner(), [UI.decode()], 600, credentials=True)
    for request in (_plain(UI), _preflight(UI)):
        assert (await ask(app, request)).headers[b"access-control-allow-credentials"] == b"true"
    assert _cors_lines(await ask(app, _plain(ELSEWHERE))) == set()


@settings(deadline=None)
@given(st.binary(max_size=64))
async def test_only_configured_origins_are_echoed(shown: bytes) -> None:
    """Whatever the Origin header contains."""
    answer = await ask(Cors(Inner(), [UI.decode()], 600), _plain(shown))
    assert answer.headers.get(ALLOWED) in (None, UI)


async def test_the_registry_behind_it_answers_as_before(driver: AnyDriver) -> None:
    """A preflight never reaches the registry, and a page reads its responses."""
    app = Cors(build(Settings(), driver), [UI.decode()], 600)
    assert (await ask(app, _preflight(UI))).status == 204
    answer = await ask(app, _plain(UI))
    assert (answer.status, answer.headers[ALLOWED]) == (200, UI)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://UI.example.com", "https://ui.example.com"),
        ("https://ui.example.com:443", "https://ui.example.com"),
        ("http://ui.example.com:80", "http://ui.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://ui.example.com:443", "http://ui.example.com:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("*", "*"),
    ],
)
def test_origins_are_normalized_as_browsers_write_them(written: str, read: str) -> None:
    """Lowercase, without the default port of the scheme."""
    assert validated(Configured, {"origins": [written]}).origins == (read,)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "null",
        "ui.example.com",
        "https://",
        "https://ui.example.com/",
        "https://ui.example.com/path",
        "https://*.example.com",
        "https://user@ui.example.com",
        "https://ui.example.com:",
        "https://ui.example.com\n",
        "https://\u00fc.example.com",
        "ftp://ui.example.com",
    ],
)
def test_origins_that_no_browser_sends_are_refused(written: str) -> None:
    """They would never match, and the operator would not learn why."""
    with pytest.raises(Invalid, match="must be"):
        validated(Configured, {"origins": [written]})


def test_every_page_and_the_credentials_of_browsers_exclude_each_other() -> None:
    """Otherwise any page could do what its visitor may."""
    with pytest.raises(Invalid, match="list the origins instead"):
        validated(Configured, {"origins": ["*"], "credentials": True})
    with pytest.raises(Invalid, match="list the origins instead"):
        validated(Configured, {"origins": [UI.decode(), "*"], "credentials": True})
    assert validated(Configured, {"origins": [UI.decode()], "credentials": True}).credentials
