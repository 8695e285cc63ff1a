"""Plain HTTP on a port that speaks TLS: the sentence that Go's servers send, and nothing else."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.programs import serving
from tests.support.certificates import Authority, certificate
from tests.support.processes import Daemon, free_port
from tests.support.tools import require_tool

pytestmark = pytest.mark.live

NO_SNIFF = b"x-content-type-options: nosniff\r\n"
SENTENCE = (
    b"HTTP/1.0 400 Bad Request\r\n"
    + NO_SNIFF
    + b"\r\nClient sent an HTTP request to an HTTPS server.\n"
)
THEIRS = SENTENCE.replace(NO_SNIFF, b"")
HOST = b" /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n"
SENT = [
    *(method + HOST for method in (b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS")),
    *(method + HOST for method in (b"PATCH", b"DELETE", b"CONNECT")),
    b"GET /",
    b"hello\r\n",
    b"\x00\x00\x00\x00\x00\x00",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000),
]


def answer(port: int, *parts: bytes) -> bytes:
    """Send bytes in parts, and return all that comes until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        try:
            for part in parts:
                plain.sendall(part)
            while data := plain.recv(4096):
                received += data
        except ConnectionError:
            pass  # what it had not read yet makes an end into a reset
        return received


def document(folder: Path, port: int, **tls: object) -> str:
    """Write a configuration for either registry; return its path."""
    (folder / "root").mkdir(exist_ok=True)
    files = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "root")}},
        "http": {"addr": f"127.0.0.1:{port}", "tls": files | tls},
    }
    path = folder / f"config-{port}.yml"
    path.write_text(json.dumps(settings))
    return str(path)


@pytest.fixture(params=[1, 2])
def port(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """Serve HTTPS, with one worker and with two; give the port."""
    certificate(tmp_path)
    path = document(tmp_path, 0)
    with serving([path, "--workers", str(request.param)], tmp_path) as server:
        found = re.search(r"listening on 127\.0\.0\.1:(\d+), tls", server.said)
        assert found is not None
        yield int(found[1])


def test_the_sentence_is_that_of_distribution(tmp_path: Path, port: int) -> None:
    """For the same beginnings, with one header more; only HTTP and TLS are answered at all."""
    other = free_port()
    peer = Daemon(
        [require_tool("docker-registry"), "serve", document(tmp_path, other)],
        tmp_path / "peer.log",
        b"listening on",
    ).start()
    try:
        theirs = [answer(other, sent) for sent in SENT]
    finally:
        peer.stop()
    ours = [answer(port, sent) for sent in SENT]
    assert ours.count(SENTENCE) >= 6
    ours = [THEIRS if each == SENTENCE else each for each in ours]
    assert ours[:-1] == theirs[:-1]
    # Of a request with a body the peer may lose the answer to a reset.
    assert {ours[-1], theirs[-1]} <= {THEIRS, b""}


def test_a_beginning_in_parts(tmp_path: Path, port: int) -> None:
    """Byte for byte it is the same; so is a handshake that comes that slowly."""
    # The server answers before the last bytes are sent, and their reset may take the answer.
    parts = [bytes([byte]) for byte in b"GET /v2/ HTTP/1.1\r\n\r\n"]
    answers = {answer(port, *parts) for _ in range(5)}
    assert SENTENCE in answers
    assert answers <= {SENTENCE, b""}
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in to_server.read():
                    slow.sendall(bytes([byte]))
                to_client.write(slow.recv(65536))
        client.write(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        slow.sendall(to_server.read())
        received = b""
        while not received:
            to_client.write(slow.recv(65536))
            received = _read(client)
    assert received.startswith(b"HTTP/1.1 200 ")


def _read(client: ssl.SSLObject) -> bytes:
    try:
        return client.read(65536)
    except ssl.SSLWantReadError:
        return b""


def test_curl_prints_it(port: int) -> None:
    """It takes the sentence for an answer with status 400."""
    done = subprocess.run(
        [require_tool("curl"), "-s", "-w", "%{http_code}", f"http://127.0.0.1:{port}/v2/"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == SENTENCE.partition(b"\r\n\r\n")[2] + b"400"


def test_where_client_certificates_are_asked_for(tmp_path: Path) -> None:
    """The sentence needs none, and is all there is without one."""
    certificate(tmp_path)
    Authority.make(tmp_path, "ca")
    path = document(tmp_path, 0, clientcas=[str(tmp_path / "ca.pem")])
    with serving([path, "--workers", "1"], tmp_path) as server:
        found = int(server.where.rpartition(":")[2])
        pipelined = SENT[0] + b"GET /v2/_catalog HTTP/1.1\r\nHost: a\r\n\r\n"
        assert answer(found, pipelined) == SENTENCE
        assert "_catalog" not in server.said
