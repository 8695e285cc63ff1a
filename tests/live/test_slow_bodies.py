"""Clients that drip over a real socket: what they hold is let go of, and what they sent is kept."""

from __future__ import annotations

import json
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.live.conftest import CONFIG
from tests.live.sockets import Connection, head_of
from tests.live.test_ways import served
from tests.live.transfers import arrived, begin, finish, held, until
from tests.support.certificates import certificate
from tests.support.guarded import guarded_config
from tests.support.servers import RegistryServer
from tests.support.wire import Answer, path_of, sha256

pytestmark = pytest.mark.live

LIMITS = "{bodies: {least: 1KiB, within: 1s}, uploads: {total: 1}}"
CONTENT = random.Random(12).randbytes(3 << 20)
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Give a server with one worker, one upload at a time, and little patience."""
    config = f"{CONFIG}limits: {LIMITS}\n"
    folder = tmp_path_factory.mktemp("strict")
    with RegistryServer(folder, config=config, workers=1) as server:
        yield server


def dripped(connection: Connection, framing: str) -> Answer:
    """Send a byte now and then until there is an answer, and return it."""
    byte = b"1\r\nx\r\n" if "chunked" in framing else b"x"
    connection.socket.settimeout(0.1)
    for _ in range(300):
        with suppress(ConnectionError):
            connection.send(byte)
        try:
            if connection.socket.recv(1, socket.MSG_PEEK):
                break
        except TimeoutError:
            continue
    connection.socket.settimeout(20)
    return connection.answer()


@pytest.mark.parametrize(
    "framing", [f"Content-Length: {len(CONTENT)}", "Transfer-Encoding: chunked"]
)
def test_an_upload_that_drips_keeps_what_arrived(
    strict: RegistryServer, name: str, framing: str
) -> None:
    """408; the session, its file and the one place there is are let go of; the next goes on."""
    path = begin(strict, name)
    part = CONTENT[: 2 << 20]
    with Connection.to(strict.port) as connection:
        connection.send(head_of(f"PATCH {path} HTTP/1.1\n{framing}"))
        connection.send(b"%x\r\n%b\r\n" % (len(part), part) if "chunked" in framing else part)
        refused = dripped(connection, framing)
        assert (refused.status, refused.header("Connection")) == (408, "close")
        assert "too slowly" in refused.body.decode()
        with suppress(ConnectionResetError):
            assert connection.is_closed()
    until(lambda: not arrived(strict, path), "nobody holds the session")
    done = held(strict, path)
    extra = done - len(part)
    assert 0 < extra < 100
    finish(strict, path, part + b"x" * extra + CONTENT, done)
    assert "Traceback" not in strict.log


def test_who_sends_nothing_is_cut_too(strict: RegistryServer, name: str) -> None:
    """The session is what it was, and the next upload has the place."""
    path = begin(strict, name)
    with Connection.to(strict.port) as connection:
        connection.send(head_of(f"PATCH {path} HTTP/1.1\nContent-Length: 5"))
        assert connection.answer().status == 408
    until(lambda: not arrived(strict, path), "nobody holds the session")
    finish(strict, path, b"whole", 0)


def test_an_upload_that_is_slow_goes_through(strict: RegistryServer, name: str) -> None:
    """A KiB a second and a little more, for several seconds."""
    path, content = begin(strict, name), CONTENT[:12_000]
    with Connection.to(strict.port) as connection:
        connection.send(head_of(f"PATCH {path} HTTP/1.1\nContent-Length: {len(content)}"))
        for at in range(0, len(content), 600):
            connection.send(content[at : at + 600])
            time.sleep(0.2)
        assert connection.answer().status == 202
    finish(strict, path, content, len(content))


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("PUT /v2/live/slow/manifests/v1", 408),
        ("POST /v2/live/slow/blobs/uploads/?digest=sha256:" + "0" * 64, 408),
        ("DELETE /v2/live/slow/manifests/v1", 404),
    ],
)
def test_other_bodies_must_not_drip_either(
    strict: RegistryServer, request_line: str, status: int
) -> None:
    """Of what is not wanted at all the rest is not waited for."""
    framing = "Content-Length: 1000000"
    with Connection.to(strict.port) as connection:
        connection.send(head_of(f"{request_line} HTTP/1.1\n{framing}"))
        if status != 408:
            assert connection.answer().status == status
            with suppress(ConnectionResetError):
                assert connection.is_closed()
        else:
            assert dripped(connection, framing).status == 408


def encrypted(folder: Path) -> tuple[str, Callable[[str], Connection]]:
    """Return what a server needs to speak TLS, and how to connect to it."""
    made = certificate(folder)
    trusting = ssl.create_default_context(cafile=str(made))
    files = f"{{certificate: {made}, key: {folder}/key.pem}}"
    http = f"{{addr: '127.0.0.1:0', workers: 1, tls: {files}}}"
    return http, lambda where: Connection.secure(int(where.rpartition(":")[2]), trusting)


def over_unix(folder: Path) -> tuple[str, Callable[[str], Connection]]:
    """Return what a server needs to listen on a unix socket, and how to connect to it."""

    def connect(where: str) -> Connection:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(20)
        made.connect(where)
        return Connection(made)

    return f"{{net: unix, addr: {folder}/socket, workers: 1}}", connect


@pytest.mark.parametrize("way", [encrypted, over_unix])
def test_over_other_sockets(
    tmp_path: Path, way: Callable[[Path], tuple[str, Callable[[str], Connection]]]
) -> None:
    """The same: 408, and the session goes on with all that arrived."""
    http, connect = way(tmp_path)
    content = CONTENT[: 1 << 20]
    with served(tmp_path, f"{http}\nlimits: {{bodies: {{within: 1s}}}}") as where:
        with connect(where) as connection:
            begun = connection.ask("POST /v2/live/other/blobs/uploads/ HTTP/1.1")
            path = path_of(begun.header("Location"))
            framing = f"Content-Length: {2 * len(content)}"
            connection.send(head_of(f"PATCH {path} HTTP/1.1\n{framing}") + content)
            connection.socket.settimeout(20)
            assert connection.answer().status == 408
        with connect(where) as connection:
            status = connection.ask(f"GET {path} HTTP/1.1")
            assert status.header("Range") == f"0-{len(content) - 1}"
            target = f"{path}?digest={sha256(content * 2)}"
            assert connection.ask(f"PUT {target} HTTP/1.1", content).status == 201


def test_a_form_for_a_token_must_not_drip(tmp_path: Path) -> None:
    """Clients without a password can drip as well."""
    config = json.loads(guarded_config(tmp_path))
    config["limits"] = {"bodies": {"least": 100, "within": "1s"}}
    with (
        RegistryServer(tmp_path / "server", config=json.dumps(config), workers=1) as server,
        Connection.to(server.port) as connection,
    ):
        framing = "Content-Length: 1000"
        connection.send(head_of(f"POST /auth/token HTTP/1.1\nContent-Type: {FORM}\n{framing}"))
        assert dripped(connection, framing).status == 408
