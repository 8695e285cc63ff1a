"""The head of a request, read by the parser.

Nodes of a cluster ask for the same images with the same words, and a client says most of them again
with every request: reading a head is a pure function of its bytes, so short ones are remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from registry_server.http1.framing import Chunked, Counted, Framing

# Bytes of a head that is remembered, and how many are.
_SHORT = 1024
_REMEMBERED = 512

# Bytes. A bearer token of 40,000 characters fits, or a query of as many.
HEAD_LIMIT = 64 << 10

# Handlers go over all of them several times. Clients send a dozen, a chain of proxies some more.
MOST_LINES = 200

# A query is read into a dictionary, at a third of a microsecond for each field. A push may name a
# hundred tags, and no other request has more than a few fields.
MOST_FIELDS = 1000

Header: TypeAlias = tuple[bytes, bytes]

_VERSIONS = frozenset({"1.0", "1.1"})


class HeadInvalid(Exception):
    """What arrived is not, or will not become, a head that can be answered."""


class HeadTooLong(HeadInvalid):
    """It has too many bytes, lines, or fields in its query."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a client asks for; names of headers are in lower case.

    `length` is that of the body in bytes, None when it comes in chunks. The client
    `awaits_continue` before it sends the body (RFC 9110 section 10.1.1). If the head `is_short`,
    that of its answer may be cached.
    """

    method: str
    version: str
    path: str
    raw_path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    length: int | None
    keep_alive: bool
    awaits_continue: bool
    is_short: bool

    def framing(self) -> Framing | None:
        """Begin to read the body; None when there is none."""
        if self.length is None:
            return Chunked()
        return Counted(self.length) if self.length else None


def read(head: bytes) -> RequestHead:
    """Read a whole head, with the blank line at its end; raise `HeadInvalid`."""
    return _remembered(head) if len(head) <= _SHORT else _read(head)


def _read(head: bytes) -> RequestHead:
    reader = HeadReader()
    reader.feed(head)
    return reader.result()


_remembered = lru_cache(maxsize=_REMEMBERED)(_read)


class HeadReader:
    """Reads a head as it arrives, to refuse what can't become one without waiting for its end."""

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._keep_alive = False
        self._size = 0
        self.is_whole = False

    def feed(self, part: bytes) -> None:
        """Read on; raise `HeadInvalid`."""
        self._size += len(part)
        try:
            self._parser.feed_data(part)
        except HttpParserUpgrade:
            pass
        except HttpParserError:
            raise HeadInvalid from None

    def on_message_begin(self) -> None:
        """Called by the parser; what is fed has one head, so a second one is a disagreement."""
        if self.is_whole:
            raise HeadInvalid

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Called by the parser, which forgets whether to keep alive at the end of a message."""
        self.is_whole = True
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Called by the parser when it takes some of the head for a body."""
        raise HeadInvalid

    def result(self) -> RequestHead:
        """Return the head that was read; raise `HeadInvalid` when it makes no sense.

        It is `HeadTooLong` when it has more than MOST_LINES headers or MOST_FIELDS in its query.
        """
        if not self.is_whole:
            raise HeadInvalid
        if len(self._headers) > MOST_LINES:
            raise HeadTooLong
        try:
            return self._result()
        except ValueError:
            raise HeadInvalid from None

    def _result(self) -> RequestHead:
        version = self._parser.get_http_version()
        method = self._parser.get_method().decode("ascii")
        if method == "CONNECT" or version not in _VERSIONS:
            raise ValueError("this is no proxy, and speaks HTTP/1 alone")
        raw_path, query, host = _target(self._url)
        if query.count(b"&") >= MOST_FIELDS:
            raise HeadTooLong
        path = raw_path.decode("ascii")
        # HTTP/1.0 has neither: a connection that is kept, nor a client that waits to be asked.
        is_current = version != "1.0"
        return RequestHead(
            method=method,
            version=version,
            path=unquote(path) if "%" in path else path,
            raw_path=raw_path,
            query=query,
            headers=tuple(_with_host(host, self._headers) if host else self._headers),
            length=_length(self._headers, version),
            keep_alive=is_current and self._keep_alive,
            awaits_continue=is_current and _awaits_continue(self._headers),
            is_short=self._size <= _SHORT,
        )


def _target(url: bytes) -> tuple[bytes, bytes, bytes]:
    """Split what is asked for into path, query and host; raise `ValueError` if it has no path.

    Clients ask for a path, and the host is empty; a proxy's client may send a whole URL (RFC 9112
    section 3.2).
    """
    try:
        parsed = parse_url(url)
    except HttpParserError:
        parsed = None
    if parsed is None or parsed.path is None:
        raise ValueError("the target has no path")
    host = parsed.host or b""
    if b":" in host:
        host = b"[%b]" % host
    if parsed.port is not None:
        host = b"%b:%d" % (host, parsed.port)
    return parsed.path, parsed.query or b"", host


def _with_host(host: bytes, headers: list[Header]) -> list[Header]:
    """Replace `Host` by the host of the URL that is asked for (RFC 9112 section 3.2.2)."""
    return [(b"host", host), *(header for header in headers if header[0] != b"host")]


def _length(headers: list[tuple[bytes, bytes]], version: str) -> int | None:
    """Return the length of the body, None for chunks.

    Raises `ValueError` unless there is the one Host HTTP/1.1 wants, and no coding but one chunked:
    one that is not undone would be stored as if it were content. HTTP/1.0 has no codings.
    """
    hosts = codings = 0
    length: int | None = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            # The parser has refused what is no number, a second one, and one beside a coding.
            length = int(value)
        elif name == b"transfer-encoding":
            if value.strip().lower() != b"chunked" or version == "1.0":
                raise ValueError("the body has a coding that is not undone here")
            codings, length = codings + 1, None
    if codings > 1 or (hosts != 1 and (hosts or version != "1.0")):
        raise ValueError("there must be one Host, and one coding at most")
    return length


def _awaits_continue(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
