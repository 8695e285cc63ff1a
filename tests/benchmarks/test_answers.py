"""Load is only counted when every answer is the right one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks.client import Connection, request_head
from benchmarks.errors import WrongAnswer
from benchmarks.headload import HeadLoad
from benchmarks.wrk import REPORT, GetLoad
from tests.support.tools import require_tool

BODY = b"x" * 5000


class Handler(BaseHTTPRequestHandler):
    """Answers 200 with a body to `/right` and 404 with the same body to the rest."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Announce the body."""
        self.send_response(200 if self.path == "/right" else 404)
        self.send_header("Content-Length", str(len(BODY)))
        self.send_header("Location", "http://elsewhere:5000/v2/a?b=c")
        self.end_headers()

    def do_GET(self) -> None:
        """Send the body."""
        self.do_HEAD()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Waits for its threads when it is closed, and takes a client that leaves as no error."""

    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Serve on a free port."""
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Give wrk the script that reports its findings."""
    require_tool("wrk")
    file = tmp_path / "report.lua"
    file.write_text(REPORT)
    return file


def test_head_answers_are_counted_until_time_is_up(port: int) -> None:
    load = HeadLoad(port, "/right", 3, {}).run(0.1)
    assert load.requests > 3
    assert load.rate == pytest.approx(load.requests / load.seconds)


def test_a_head_answer_of_another_status_is_refused(port: int) -> None:
    with pytest.raises(WrongAnswer, match="404"):
        HeadLoad(port, "/wrong", 3, {}).run(0.1)


def test_get_answers_are_counted_by_wrk(port: int, script: Path) -> None:
    assert GetLoad(port, "/right", len(BODY), 2, {}, script).run(1).requests > 0


@pytest.mark.parametrize(("target", "length"), [("/wrong", 5000), ("/right", 10000), ("/right", 9)])
def test_a_get_answer_of_another_status_or_length_is_refused(
    port: int, script: Path, target: str, length: int
) -> None:
    with pytest.raises(WrongAnswer):
        GetLoad(port, target, length, 2, {}, script).run(1)


def test_the_cheap_client_reads_whole_answers_and_keeps_its_connection(port: int) -> None:
    with Connection(port) as connection:
        for _ in range(2):
            answer = connection.exchange(request_head("GET", "/right"))
            assert (answer.status, answer.body) == (200, BODY)
            assert answer.says(b"content-length", b"5000")
            assert not answer.says(b"content-length", b"500")
            assert answer.location() == "/v2/a?b=c"
            assert connection.exchange(request_head("HEAD", "/wrong")).status == 404
            assert connection.download(request_head("GET", "/right"))[1] == len(BODY)


def test_a_thrown_away_body_is_counted_to_the_byte_and_leaves_the_connection_usable(
    port: int,
) -> None:
    with Connection(port) as connection:
        answer, left = connection.begin(request_head("GET", "/right"))
        while left:
            count = connection.discard(min(left, 1000))
            assert 0 < count <= 1000
            left -= count
        assert len(answer.body) <= len(BODY)
        assert connection.exchange(request_head("GET", "/right")).body == BODY


def test_a_body_that_ends_too_early_is_a_wrong_answer() -> None:
    request = request_head("GET", "/")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Connection(listener.getsockname()[1]) as connection,
    ):
        peer, _ = listener.accept()
        with peer:
            connection.send(request)
            assert peer.recv(len(request)) == request
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
        with pytest.raises(WrongAnswer, match="too early"):
            connection.download(b"")
