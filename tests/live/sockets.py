"""A connection on which a test writes bytes and reads answers: nothing is added or hidden."""

from __future__ import annotations

import socket
import ssl
import struct
from email import message_from_bytes
from types import TracebackType
from typing import IO, Self

from tests.support.wire import Answer

TIMEOUT = 20.0


class Connection:
    """One TCP (or TLS, or unix) connection to a server."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self._reader: IO[bytes] = opened.makefile("rb")

    @classmethod
    def to(cls, port: int) -> Self:
        """Connect to a port of 127.0.0.1."""
        return cls(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT))

    @classmethod
    def secure(cls, port: int, context: ssl.SSLContext) -> Self:
        """Connect to a TLS port of 127.0.0.1."""
        plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        return cls(context.wrap_socket(plain, server_hostname="127.0.0.1"))

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def ask(self, head: str, body: bytes = b"") -> Answer:
        """Send a request given by its head's lines, and read the answer.

        Host, and Content-Length where there is a body, are added.
        """
        length = f"\nContent-Length: {len(body)}" if body else ""
        self.send(head_of(f"{head}{length}") + body)
        return self.answer(head.partition(" ")[0])

    def answer(self, method: str = "GET") -> Answer:
        """Read one answer to `method`; an interim one (1xx) counts."""
        head = self.head()
        bodiless = method == "HEAD" or head.status < 200 or head.status in {204, 304}
        length = 0 if bodiless else int(head.header("Content-Length"))
        return Answer(head.status, head.headers, self.read(length))

    def head(self) -> Answer:
        """Read the head of an answer, and leave its body to be read."""
        status_line = self._reader.readline()
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        lines = []
        while (line := self._reader.readline()).strip():
            lines.append(line)
        headers = message_from_bytes(b"".join(lines) + b"\r\n")
        return Answer(int(status_line.split()[1]), headers, b"")

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes, fewer only at the end."""
        return self._reader.read(size)

    def is_closed(self) -> bool:
        """Tell whether the server ended the connection properly; wait for it."""
        return self._reader.read(1) == b""

    def vanish(self) -> None:
        """Go away with a reset, as a crashed client or a cut cable behind a NAT does."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def close(self) -> None:
        """Close."""
        self._reader.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def head_of(lines: str) -> bytes:
    """Return the head of a request with a Host, from its lines."""
    first, *rest = lines.split("\n")
    return "\r\n".join([first, "Host: localhost", *rest, "", ""]).encode("latin-1")
