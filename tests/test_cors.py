"""Pages of the configured origins may read answers; others learn nothing that they could not."""

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
    """Answers everything alike, and remembers whether it was asked."""

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


async def test_a_preflight_is_answered_before_anybody_looks_for_credentials() -> None:
    """A browser learns what it may send, and for how long; the registry is not asked."""
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
async def test_anything_else_reaches_the_registry(request_: Request) -> None:
    """A preflight of another origin, and what only looks like one, is answered as it always was."""
    inner = Inner(405)
    answer = await ask(Cors(inner, [UI.decode()], 600), request_)
    assert (answer.status, inner.asked) == (405, 1)


@pytest.mark.parametrize("status", [200, 206, 401, 403, 404, 500])
async def test_an_answer_may_be_read_by_a_page_of_a_configured_origin(status: int) -> None:
    """Whatever the status, the page sees the answer and the headers that make sense of it."""
    inner = Inner(status, [(b"www-authenticate", b"Bearer")])
    answer = await ask(Cors(inner, [UI.decode()], 600), _plain(UI))
    assert (answer.status, answer.headers[b"www-authenticate"]) == (status, b"Bearer")
    assert answer.headers[ALLOWED] == UI
    exposed = answer.headers[b"access-control-expose-headers"].split(b", ")
    assert {b"Docker-Content-Digest", b"WWW-Authenticate", b"Link", b"Retry-After"} <= set(exposed)


@pytest.mark.parametrize("shown", [[], [ELSEWHERE], [b"null"], [UI, ELSEWHERE], [b"*"]])
async def test_an_answer_to_anybody_else_only_says_that_it_differs(shown: list[bytes]) -> None:
    """No page may read it, and a cache does not keep it for those that may."""
    answer = await ask(Cors(Inner(), [UI.decode()], 600), _plain(*shown))
    assert _cors_lines(answer) == set()
    assert answer.headers[b"vary"] == b"Origin"


async def test_what_varies_already_varies_by_the_origin_too() -> None:
    """There is one Vary, which says all."""
    app = Cors(Inner(headers=[(b"vary", b"Accept")]), [UI.decode()], 600)
    assert (await ask(app, _plain(UI))).headers[b"vary"] == b"Accept, Origin"


async def test_a_configured_header_does_not_stand_beside_ours() -> None:
    """A browser refuses an answer with two origins, so ours stands in for one of `http.headers`."""
    sent: list[tuple[bytes, bytes]] = []
    app = Cors(Headers(Inner(), [("Access-Control-Allow-Origin", "*")]), [UI.decode()], 600)

    async def spy(scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: dict[str, object]) -> None:
            sent.extend(message.get("headers", ()))  # type: ignore[arg-type]
            await send(message)

        await app(scope, receive, note)  # type: ignore[arg-type]

    await ask(spy, _plain(UI))
    assert [value for name, value in sent if name == ALLOWED] == [UI]


async def test_a_star_is_for_everybody_and_varies_by_nothing() -> None:
    """Each answer says so, with an origin or without."""
    app = Cors(Inner(), ["*"], 0)
    for request in (_plain(), _plain(ELSEWHERE), _preflight(ELSEWHERE)):
        answer = await ask(app, request)
        assert answer.headers[ALLOWED] == b"*"
        assert b"vary" not in answer.headers


async def test_credentials_of_the_browser_are_let_through_where_that_is_configured() -> None:
    """Both answers say so, or the browser would not send them."""
    app = Cors(Inner(), [UI.decode()], 600, credentials=True)
    for request in (_plain(UI), _preflight(UI)):
        assert (await ask(app, request)).headers[b"access-control-allow-credentials"] == b"true"
    assert _cors_lines(await ask(app, _plain(ELSEWHERE))) == set()


@settings(deadline=None)
@given(st.binary(max_size=64))
async def test_no_origin_is_echoed_that_is_not_configured(shown: bytes) -> None:
    """Whatever stands in Origin, only a configured one comes back."""
    answer = await ask(Cors(Inner(), [UI.decode()], 600), _plain(shown))
    assert answer.headers.get(ALLOWED) in (None, UI)


async def test_the_registry_behind_it_answers_as_ever(driver: AnyDriver) -> None:
    """A preflight never reaches the registry, and a page reads what it answers."""
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
def test_an_origin_is_kept_as_browsers_write_it(written: str, read: str) -> None:
    """Capitals and the usual port of a scheme go."""
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
def test_what_no_browser_would_write_is_refused(written: str) -> None:
    """It would never match, and whoever wrote it would not know why."""
    with pytest.raises(Invalid, match="must be"):
        validated(Configured, {"origins": [written]})


def test_every_page_and_the_credentials_of_browsers_exclude_each_other() -> None:
    """Else any page could do what its visitor may."""
    with pytest.raises(Invalid, match="list the origins instead"):
        validated(Configured, {"origins": ["*"], "credentials": True})
    with pytest.raises(Invalid, match="list the origins instead"):
        validated(Configured, {"origins": [UI.decode(), "*"], "credentials": True})
    assert validated(Configured, {"origins": [UI.decode()], "credentials": True}).credentials
