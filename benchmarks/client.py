"""A keep-alive HTTP/1.1 connection that uses as little CPU as possible.

It sends bytes prepared by the caller and understands responses with a `Content-Length`, which both
servers send for everything except long listings.
"""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.errors import WrongAnswer, expect

TIMEOUT_SECONDS = 60.0
READ_BYTES = 1 << 20
HEAD_BYTES = 1 << 16
NO_HEADERS: Mapping[str, str] = {}

_NO_BODY = (204, 304)
_NOTHING = bytearray(READ_BYTES)  # never written to
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation: *(?:https?://[^/]+)?([^\r]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, the raw head and the body of one response."""

    status: int
    head: bytes
    body: bytes

    def says(self, name: bytes, value: bytes) -> bool:
        """Return True if the head has the header `name` (lower case) with exactly `value`."""
        return b"\r\n" + name + b": " + value.lower() + b"\r\n" in self.head.lower()

    def location(self) -> str:
        """Return the path and query of the `Location`, which may be relative or absolute."""
        match = _LOCATION.search(self.head)
        if match is None:
            raise WrongAnswer(f"{self.status} without Location")
        return match[1].decode()


def request_head(method: str, target: str, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    """Return the bytes of a request up to its body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def sized(method: str, target: str, body: bytes, content_type: str) -> bytes:
    """Return the bytes of a request with a body of known length."""
    headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    return request_head(method, target, headers) + body


class Connection:
    """One connection to a server on 127.0.0.1; a context manager."""

    def __init__(self, port: int, timeout: float = TIMEOUT_SECONDS) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def exchange(self, request: bytes, body: Path | None = None) -> Answer:
        """Send a request, then `body` straight from its file, and return the whole response."""
        self.send(request)
        if body is not None:
            with body.open("rb") as file:
                self._socket.sendfile(file)
        return self.answer(has_body=not request.startswith(b"HEAD "))

    def send(self, data: bytes | memoryview) -> None:
        """Send some or all of a request."""
        self._socket.sendall(data)

    def answer(self, *, has_body: bool = True) -> Answer:
        """Return the response; one to HEAD has no body despite its Content-Length."""
        status, head, rest, length = self._read_head(has_body)
        while len(rest) < length:
            rest += self._receive()
        return Answer(status, head, rest)

    def download(self, request: bytes) -> tuple[Answer, int]:
        """Send a request and throw its body away.

        Returns the answer without its body, and the number of bytes of the body.
        """
        answer, left = self.begin(request)
        size = left
        while left:
            left -= self.discard(min(left, READ_BYTES))
        return answer, size + len(answer.body)

    def begin(self, request: bytes) -> tuple[Answer, int]:
        """Send a request; return its answer with the first bytes of its body, and what is left."""
        self.send(request)
        status, head, rest, length = self._read_head(has_body=True)
        return Answer(status, head, rest), length - len(rest)

    def discard(self, most: int) -> int:
        """Throw away at least one byte of a body and at most `most`; return how many.

        The kernel drops them where they are (MSG_TRUNC, tcp(7)): a copy would cost the client, on
        the same cores, as much as it costs a good server to send.
        """
        count = self._socket.recv_into(_NOTHING, min(most, len(_NOTHING)), socket.MSG_TRUNC)
        expect(count > 0, "the body ended too early")
        return count

    def _read_head(self, has_body: bool) -> tuple[int, bytes, bytes, int]:
        """Return the status, the head, the part of the body that arrived, and the body's length."""
        data = self._receive()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        head, rest = data[: end + 2], data[end + 4 :]
        status = int(head[9:12])
        if not has_body or status in _NO_BODY:
            return status, head, rest, 0
        length = _LENGTH.search(head)
        if length is None:
            raise WrongAnswer(f"{status} without Content-Length")
        return status, head, rest, int(length[1])

    def _receive(self) -> bytes:
        data = self._socket.recv(HEAD_BYTES)
        expect(bool(data), "the server closed the connection")
        return data
