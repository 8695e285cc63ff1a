"""HEAD load: one thread, one epoll, one request at a time on each connection.

wrk and h2load wait for a body when a response to HEAD has the `Content-Length` that RFC 9110 (8.6)
permits; ab speaks HTTP/1.0. This loop uses about as much CPU per response as wrk does for a GET,
most of it in the kernel.
"""

import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.client import HEAD_BYTES, TIMEOUT_SECONDS, request_head
from benchmarks.errors import expect
from benchmarks.load import Load

_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class HeadLoad:
    """A HEAD to repeat over some keep-alive connections."""

    port: int
    target: str
    connections: int
    headers: Mapping[str, str]

    def run(self, seconds: float) -> Load:
        """Repeat the HEAD for `seconds`; raise `WrongAnswer` unless every status is 200."""
        sockets = [self._connect() for _ in range(self.connections)]
        try:
            return _repeat(
                sockets, request_head("HEAD", self.target, self.headers), seconds, self.target
            )
        finally:
            for connection in sockets:
                connection.close()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _repeat(sockets: list[socket.socket], request: bytes, seconds: float, target: str) -> Load:
    by_number = {connection.fileno(): connection for connection in sockets}
    sent: dict[int, float] = {}
    latencies: list[float] = []
    with select.epoll() as ready:
        start = time.perf_counter()
        for number, connection in by_number.items():
            ready.register(number, select.EPOLLIN)
            sent[number] = start
            connection.sendall(request)
        while (now := time.perf_counter()) < start + seconds:
            events = ready.poll(TIMEOUT_SECONDS)
            expect(bool(events), f"HEAD {target} timed out")
            for number, _ in events:
                connection = by_number[number]
                _read_answer(connection, target)
                arrived = time.perf_counter()
                latencies.append(arrived - sent[number])
                sent[number] = arrived
                connection.sendall(request)
    return Load(len(latencies), now - start, median(latencies))


def _read_answer(connection: socket.socket, target: str) -> None:
    head = connection.recv(HEAD_BYTES)
    while not head.endswith(_END):
        more = connection.recv(HEAD_BYTES)
        expect(bool(more), f"HEAD {target}: the server closed the connection")
        head += more
    expect(head.startswith(b"HTTP/1.1 200 "), f"HEAD {target} answered {head[9:12].decode()}")
