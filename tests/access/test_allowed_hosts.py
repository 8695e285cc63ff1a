"""A registry without a configuration accepts only the host names of its own machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from registry_server.config import ConfigError, Overrides
from registry_server.config.load import load
from registry_server.http.allowed_hosts import AllowedHosts
from tests.live.sockets import Connection
from tests.support.servers import RegistryServer
from tests.v2.asgi import Request, ask

OF_THIS_MACHINE = [
    "localhost", "LocalHost", "localhost:5000", "localhost.", "localhost:", "registry.localhost",
    "a.b.localhost:80", "127.0.0.1", "127.0.0.1:65535", "127.1", "127.255.255.254", "[::1]",
    "[::1]:5000", "[0:0:0:0:0:0:0:1]:5000", "[::ffff:127.0.0.1]",
]  # fmt: skip
OF_OTHERS = [
    "evil.example.com", "evil.example.com:5000", "localhost.evil.example.com", "evillocalhost",
    "127.0.0.1.evil.example.com", "127.evil.example.com", "1.127.0.0.1", "128.0.0.1", "0.0.0.0",
    "10.0.0.1:5000", "[::]", "[::2]:5000", "::1", "[::1", "[::1x", "[::1]x", "[evil]",
    "localhost@evil.example.com",
    "localhost:5000.evil.example.com", "localhost:5000:5000", ".", ":5000", "127.", "127.0.0.1.1.1",
    "local\u017fhost", "localhost/evil", "localhost, evil.example.com", "1127.0.0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Serve without a configuration, on 127.0.0.1."""
    with RegistryServer(tmp_path_factory.mktemp("trial"), workers=1) as server:
        yield server


def _asked(server: RegistryServer, head: str) -> tuple[int, bytes]:
    with Connection.to(server.port) as connection:
        connection.send(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        answer = connection.answer()
        return answer.status, answer.body


@pytest.mark.live
@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "[::1]:5000", "a.localhost"])
def test_a_registry_without_configuration_accepts_this_machine(
    trial: RegistryServer, host: str
) -> None:
    """With any port, because ports may be forwarded."""
    for path in ("/", "/v2/", "/v2/_catalog"):
        assert _asked(trial, f"GET {path} HTTP/1.1\nHost: {host}")[0] == 200


@pytest.mark.live
@pytest.mark.parametrize("path", ["/", "/v2/", "/v2/_catalog", "//v2/", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_registry_without_configuration_refuses_a_rebound_name(
    trial: RegistryServer, method: str, path: str
) -> None:
    """Every path and method is answered 421, in the envelope."""
    status, body = _asked(trial, f"{method} {path} HTTP/1.1\nHost: evil.example.com:5000")
    (error,) = json.loads(body)["errors"]
    assert (status, error["code"]) == (421, "DENIED")
    assert "http.allowedhosts" in error["message"]


@pytest.mark.live
def test_the_host_of_an_absolute_url_counts(trial: RegistryServer) -> None:
    """The header beside it is ignored (RFC 9112, 3.2.2)."""
    line = "GET http://{}/v2/ HTTP/1.1\nHost: {}"
    assert _asked(trial, line.format("evil.example.com", "localhost"))[0] == 421
    assert _asked(trial, line.format("localhost:5000", "evil.example.com"))[0] == 200
    assert _asked(trial, line.format("[::1]:5000", "evil.example.com"))[0] == 200
    assert _asked(trial, "GET http://evil.example.com/v2/ HTTP/1.0")[0] == 421


@pytest.mark.live
def test_a_request_without_a_host_is_accepted(trial: RegistryServer) -> None:
    """HTTP/1.0 allows it, which load balancers use; HTTP/1.1 requires a host."""
    assert _asked(trial, "GET /v2/ HTTP/1.0")[0] == 200
    assert _asked(trial, "GET /v2/ HTTP/1.1\nHost:")[0] == 200
    assert _asked(trial, "GET /v2/ HTTP/1.1")[0] == 400
    assert _asked(trial, "GET /v2/ HTTP/1.0\nHost: evil.example.com")[0] == 421
    two = "GET /v2/ HTTP/1.1\nHost: localhost\nHost: evil.example.com"
    assert _asked(trial, two)[0] == 400


@pytest.mark.live
def test_a_page_stores_nothing_in_a_registry_without_configuration(trial: RegistryServer) -> None:
    """Not by a POST that a browser sends for any page without a preflight."""
    post = "POST /v2/a/blobs/uploads/ HTTP/1.1\nHost: localhost:5000\nContent-Length: 0"
    assert _asked(trial, f"{post}\nOrigin: https://evil.example.com")[0] == 403
    assert _asked(trial, f"{post}\nOrigin: http://localhost:5000")[0] == 202
    assert _asked(trial, post)[0] == 202


def _allowed(
    path: Path | None = None, environ: Mapping[str, str] | None = None, **options: object
) -> tuple[str, ...]:
    overrides = Overrides(**options)  # type: ignore[arg-type]
    return load(path, environ or {}, overrides).settings.http.allowedhosts


@pytest.mark.parametrize(
    ("environ", "options"),
    [
        ({}, {}),
        ({}, {"port": 8080}),
        ({}, {"host": "::1"}),
        ({}, {"host": "localhost", "port": 0}),
        ({"REGISTRY_HTTP_ADDR": "127.0.0.2:80"}, {}),
        ({"REGISTRY_LOG_LEVEL": "debug"}, {}),
        ({"REGISTRY_HTTP_ALLOWEDHOSTS": ""}, {}),
        ({"REGISTRY_HTTP_ADDR": ":5000"}, {"host": "127.0.0.1"}),
    ],
)
def test_on_loopback_only_this_machine_is_allowed(
    environ: Mapping[str, str], options: Mapping[str, object]
) -> None:
    """On each loopback address, by default, by a variable or by an option."""
    assert _allowed(None, environ, **options) == ("localhost",)


@pytest.mark.parametrize(
    ("environ", "options"),
    [
        ({}, {"host": "0.0.0.0"}),
        ({}, {"host": "::"}),
        ({}, {"host": "10.0.0.1"}),
        ({}, {"host": "registry.lan"}),
        ({"REGISTRY_HTTP_ADDR": ":5000"}, {}),
        ({"REGISTRY_HTTP_ADDR": "0.0.0.0:5000"}, {}),
        ({"REGISTRY_HTTP_NET": "unix", "REGISTRY_HTTP_ADDR": "/run/registry.sock"}, {}),
        ({"REGISTRY_HTTP_HOST": "https://registry.example.com"}, {}),
        ({"REGISTRY_HTTP_TRUSTEDPROXIES": "[127.0.0.1]"}, {}),
        ({"REGISTRY_HTTP_TLS": "{certificate: /etc/a.crt, key: /etc/a.key}"}, {}),
        ({"REGISTRY_AUTH": "{htpasswd: {realm: r, path: /etc/users}}"}, {}),
        ({"REGISTRY_HTTP_ALLOWEDHOSTS": "[]"}, {}),
    ],
)
def test_on_a_public_address_every_host_is_allowed(
    environ: Mapping[str, str], options: Mapping[str, object]
) -> None:
    """The operator has chosen an address that clients have other names for."""
    assert _allowed(None, environ, **options) == ()


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_configuration_allows_every_host(tmp_path: Path, by: str) -> None:
    """Also on loopback: a proxy on the same machine passes its own name on."""
    path = tmp_path / "config.yml"
    path.write_text("version: 0.1\nhttp: {addr: '127.0.0.1:5000'}\n")
    if by == "argument":
        assert _allowed(path) == ()
    else:
        assert _allowed(None, {"REGISTRY_CONFIGURATION_PATH": str(path)}) == ()


def test_configured_hosts_are_allowed() -> None:
    """As clients write them, with any port."""
    hosts = "[Registry.LAN, '::1', '[fe80::1]', 10.0.0.1, host.docker.internal.]"
    found = _allowed(None, {"REGISTRY_HTTP_ALLOWEDHOSTS": hosts}, host="0.0.0.0")
    assert found == ("registry.lan", "[::1]", "[fe80::1]", "10.0.0.1", "host.docker.internal")


@pytest.mark.parametrize("text", ["https://a", "a:80", "*", "*.a", "", "a b", "a/", "10.0.0.0/8"])
def test_invalid_hosts_are_refused(text: str) -> None:
    """They would allow nothing, or more than was meant."""
    with pytest.raises(ConfigError, match=r"http\.allowedhosts"):
        _allowed(None, {"REGISTRY_HTTP_ALLOWEDHOSTS": json.dumps([text])})


async def _status(host: str, *names: str) -> int:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    request = Request(headers=[(b"host", host.encode())])
    return (await ask(AllowedHosts(inner, names), request)).status


@pytest.mark.parametrize("host", OF_THIS_MACHINE)
async def test_localhost_allows_every_name_of_this_machine(host: str) -> None:
    """A list without it allows none of them."""
    assert await _status(host, "localhost") == 200
    assert await _status(host, "registry.lan") == 421


@pytest.mark.parametrize("host", OF_OTHERS)
async def test_localhost_allows_no_other_host(host: str) -> None:
    """Also not one that begins or ends with such a name."""
    assert await _status(host, "localhost") == 421


async def test_a_host_longer_than_any_name_is_refused() -> None:
    """It is not cached either: 256 hosts of 64 KiB would be."""
    labels = "a." * 122
    assert await _status(f"{labels}localhost:65535", "localhost") == 200
    assert await _status(f"{labels}a.a.localhost:65535", "localhost") == 421


async def test_a_named_host_is_allowed() -> None:
    """With any port, but no name below it."""
    for host in ("registry.lan", "Registry.lan:5000", "registry.lan."):
        assert await _status(host, "registry.lan") == 200
    assert await _status("a.registry.lan", "registry.lan") == 421


LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)


@given(st.lists(LABELS, max_size=4), st.sampled_from(["com", "test", "lan", "localhostx", "l"]))
async def test_no_domain_that_can_be_registered_is_this_machine(
    labels: list[str], last: str
) -> None:
    """The last label of a name that others can own is neither `localhost` nor a number."""
    assert await _status(".".join([*labels, last]), "localhost") == 421
