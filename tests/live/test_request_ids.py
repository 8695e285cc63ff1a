"""Every response has a request id: its own, or the one that a trusted proxy gave."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.sockets import Connection, head_of
from tests.live.test_shutdown import stopping
from tests.support.guarded import ANN, WRONG, guarded_config
from tests.support.servers import RegistryServer

pytestmark = pytest.mark.live

MADE = re.compile(r"[0-9a-f]{32}")
GIVEN = "01J:a/b+c=@d.e_f-g"
FIELD = "X-Request-Id"
UPLOAD = f"/v2/home/ann/a/blobs/uploads/?digest=sha256:{'0' * 64}"
LONG = f"Content-Length: {1 << 30}"
SAFE = {"audit": {"enabled": True}, "limits": {"bodies": {"least": "1MiB", "within": "1s"}}}


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header of a login."""
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def guarded(folder: Path, **http: Any) -> RegistryServer:
    """Make a server with users, rules and an audit log in its log, which is JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads(guarded_config(folder, {"draintimeout": "1s", **http}))
    log = {"level": "debug", "formatter": "json"}
    return RegistryServer(folder, config=json.dumps({**settings, **SAFE, "log": log}))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Serve without a trusted proxy."""
    with guarded(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Serve behind a trusted proxy on this machine."""
    folder = tmp_path_factory.mktemp("proxied")
    with guarded(folder, trustedproxies=["127.0.0.1"]) as server:
        yield server


def lines_about(server: RegistryServer, id: str) -> list[dict[str, Any]]:
    """Return the lines of the log that name a request."""
    whole, _, _ = server.log.rpartition("\n")  # the last line may be incomplete
    lines = [json.loads(line) for line in whole.splitlines()]
    return [line for line in lines if line.get("request") == id]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/v2/", 401),
        ("HEAD", "/v2/public/a/manifests/v1", 404),
        ("GET", "/v2/./", 301),
        ("GET", "/no/such/path", 404),
        ("PUT", "/v2/", 405),
        ("GET", "/auth/token?service=other", 400),
        ("GET", "/auth/jwks", 200),
        ("GET", "/api/v1/robots", 401),
        ("GET", "/api/v1/no/such", 404),
    ],
)
def test_every_response_has_an_id_of_its_own(
    plain: RegistryServer, method: str, target: str, status: int
) -> None:
    """Also refusals, redirects, and those of the token server and of the management API."""
    ids = [plain.wire.expect(status, method, target).headers.get_all(FIELD) for _ in range(2)]
    assert all(MADE.fullmatch(value) for values in ids for value in values or [""])
    assert ids[0] != ids[1]


@pytest.mark.parametrize("given", [GIVEN, "x" * 128])
def test_a_trusted_proxy_gives_the_id(proxied: RegistryServer, given: str) -> None:
    """As it is sent."""
    assert proxied.wire.request("GET", "/", headers={FIELD: given}).header(FIELD) == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "a\tb", "\xe9", "a,b"])
def test_an_id_that_is_not_safe_is_replaced(proxied: RegistryServer, given: str) -> None:
    """Too long, or with a character that could end a field or a line."""
    answer = proxied.wire.request("GET", "/", headers={FIELD: given})
    assert MADE.fullmatch(answer.header(FIELD))


def test_two_ids_are_replaced(proxied: RegistryServer) -> None:
    """A proxy that adds its own to that of a client leaves unclear which one counts."""
    with Connection.to(proxied.port) as connection:
        answer = connection.ask(f"GET / HTTP/1.1\n{FIELD}: a\n{FIELD}: b")
    assert MADE.fullmatch(answer.header(FIELD))


def test_the_id_of_a_client_is_replaced(plain: RegistryServer) -> None:
    """Only a trusted proxy may choose ids."""
    answer = plain.wire.request("GET", "/", headers={FIELD: GIVEN})
    assert MADE.fullmatch(answer.header(FIELD))


def test_the_audit_log_has_the_id_and_the_outcome_of_authentication(
    plain: RegistryServer,
) -> None:
    """A wrong password, the password of a user, and a request without a password differ."""
    outcomes = []
    for headers in (basic("ann", WRONG), basic("ann", ANN)):
        answer = plain.wire.request("GET", "/auth/token?service=registry", headers=headers)
        (line,) = [line for line in lines_about(plain, answer.header(FIELD)) if "outcome" in line]
        outcomes.append((answer.status, line["auth"], line["who"]))
    assert outcomes == [(401, "failed", ""), (200, "user", "ann")]


def test_a_body_that_is_too_slow_is_refused_with_the_id(plain: RegistryServer) -> None:
    """The server itself makes this response."""
    (login,) = basic("ann", ANN).values()
    with Connection.to(plain.port) as connection:
        head = f"POST {UPLOAD} HTTP/1.1\nAuthorization: {login}\nContent-Length: 9"
        connection.send(head_of(head))
        answer = connection.answer()
    assert answer.status == 408
    assert MADE.fullmatch(answer.header(FIELD))


def test_a_request_that_the_drain_cancels_is_answered_with_its_id(tmp_path: Path) -> None:
    """The warning about it has the same id."""
    server = guarded(tmp_path)
    server.start()
    (login,) = basic("ann", ANN).values()
    with Connection.to(server.port) as connection:
        connection.send(head_of(f"POST {UPLOAD} HTTP/1.1\nAuthorization: {login}\n{LONG}"))
        connection.send(b"x" * (32 << 20))
        with stopping(server):
            answer = connection.answer()
    assert answer.status == 503
    (warning,) = [
        line for line in lines_about(server, answer.header(FIELD)) if line["level"] == "warning"
    ]
    assert warning["msg"].endswith("was cancelled: the drain timed out")


def test_a_malformed_head_has_no_id(plain: RegistryServer) -> None:
    """It is no request, and no line of a log is about it."""
    with Connection.to(plain.port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        answer = connection.answer()
    assert (answer.status, answer.headers[FIELD]) == (400, None)


def test_pages_of_other_origins_may_read_the_id(tmp_path: Path) -> None:
    """It is among the headers that CORS exposes."""
    with guarded(tmp_path, cors={"origins": ["https://page.example"]}) as server:
        answer = server.wire.request("GET", "/v2/", headers={"Origin": "https://page.example"})
    assert FIELD in answer.header("Access-Control-Expose-Headers")
