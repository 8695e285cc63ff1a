"""Every response forbids browsers to guess its type: pushed content is no page and no script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.access.conftest import basic
from tests.live.sockets import Connection
from tests.support.guarded import ANN, guarded_config
from tests.support.servers import RegistryServer
from tests.support.wire import OCI_MANIFEST, Answer, sha256
from tests.v2.pushes import CONFIG, LAYER, MANIFEST

pytestmark = pytest.mark.live

HEADER = "X-Content-Type-Options"
BLOB = f"/v2/public/app/blobs/{sha256(LAYER)}"
TAG = "/v2/public/app/manifests/v1"
EXISTING = [
    ("/", "", 200),
    ("/v2/_catalog", "", 401),
    ("/v2/public/app/tags/list", "", 200),
    ("//v2/", "", 301),
    (TAG, "", 200),
    (TAG, f'If-None-Match: "{sha256(MANIFEST)}"', 304),
    (TAG, "Accept: text/html", 404),
    (BLOB, "", 200),
    (BLOB, f'If-None-Match: "{sha256(LAYER)}"', 304),
    (BLOB, "Range: bytes=1-2", 206),
    (BLOB, "Range: bytes=1-2,4-5", 206),
    (BLOB, "Range: bytes=99999-", 416),
    ("/v2/private/app/tags/list", "", 401),
    ("/nothing", "", 404),
    ("/auth/token?scope=repository:public/app:pull", "", 200),
    ("/auth/token?service=other", "", 400),
    ("/auth/jwks", "", 200),
    ("/api/v1/openapi.json", "", 401),
    ("/api/v1/nothing", "", 404),
]
OTHERS = [
    ("OPTIONS", "/", 200),
    ("OPTIONS", "/auth/token", 200),
    ("OPTIONS", TAG, 401),
    ("POST", "/v2/", 405),
    ("DELETE", "/auth/token", 405),
    ("POST", "/auth/token", 400),
    ("PUT", TAG, 401),
]
# Answered before any handler is called.
MALFORMED = [
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + 70_000 * b"x",
]


@pytest.fixture(scope="module", params=["", "nosniff", "sniff"])
def said(request: pytest.FixtureRequest) -> str:
    """The values in `http.headers`; empty at first."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, said: str) -> Iterator[RegistryServer]:
    """Serve an image that anonymous clients may pull."""
    folder = tmp_path_factory.mktemp("nosniff")
    config = guarded_config(folder, {"headers": {HEADER.lower(): [said]}} if said else {})
    with RegistryServer(folder / "server", config=config, workers=1) as made:
        ann = Ann(made)
        for content in (LAYER, CONFIG):
            query = f"digest={sha256(content)}"
            assert ann.ask("POST", f"/v2/public/app/blobs/uploads/?{query}", content) == 201
        assert ann.ask("PUT", TAG, MANIFEST) == 201
        yield made


class Ann:
    """A user who may push."""

    def __init__(self, server: RegistryServer) -> None:
        self._wire = server.wire

    def ask(self, method: str, target: str, body: bytes) -> int:
        """Send content; return the status."""
        shown = {**basic("ann", ANN), "Content-Type": OCI_MANIFEST}
        return self._wire.request(method, target, body, shown).status


def _values(answer: Answer) -> list[str]:
    return [str(value) for value in answer.headers.get_all(HEADER, [])]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "header", "status"), EXISTING)
def test_every_response_to_a_read_forbids_sniffing(
    server: RegistryServer, said: str, method: str, path: str, header: str, status: int
) -> None:
    """Once, and with the operator's own value if configured."""
    with Connection.to(server.port) as connection:
        answer = connection.ask(f"{method} {path} HTTP/1.1" + (f"\n{header}" if header else ""))
    assert answer.status == (200 if method == "HEAD" and status in (206, 416) else status)
    assert _values(answer) == [said or "nosniff"]


@pytest.mark.parametrize(("method", "path", "status"), OTHERS)
def test_every_other_response_forbids_sniffing(
    server: RegistryServer, said: str, method: str, path: str, status: int
) -> None:
    """Also refusals, and responses to OPTIONS."""
    with Connection.to(server.port) as connection:
        answer = connection.ask(f"{method} {path} HTTP/1.1")
    assert (answer.status, _values(answer)) == (status, [said or "nosniff"])


@pytest.mark.parametrize("sent", MALFORMED)
def test_the_response_to_a_malformed_request_forbids_sniffing(
    server: RegistryServer, sent: bytes
) -> None:
    """The parser sends it, without the configured headers."""
    with Connection.to(server.port) as connection:
        connection.send(sent)
        answer = connection.answer()
    assert answer.status in (400, 431)
    assert _values(answer) == ["nosniff"]
