"""Parses request heads.

The nodes of a cluster send identical requests, and parsing a head is a pure function of its bytes.
So the results for short heads are cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from registry_server.serving.http1.framing import ChunkedFraming, Framing, LengthFraming

# The longest head that is cached, in bytes, and the size of the cache.
_SHORT = 1024
_CACHE_SIZE = 512

# Bytes. A bearer token or a query of 40,000 characters fits.
HEAD_LIMIT = 64 << 10

# Handlers iterate over all lines several times. Clients send a dozen, a chain of proxies some more.
MOST_LINES = 200

# A query is parsed into a dictionary at a third of a microsecond a field. A push may name a hundred
# tags; no other request has more than a few fields.
MOST_FIELDS = 1000

Header: TypeAlias = tuple[bytes, bytes]

_VERSIONS = frozenset({"1.0", "1.1"})


class HeadInvalid(Exception):
    """The bytes are not, or cannot become, a valid request head."""


class HeadTooLong(HeadInvalid):
    """The head has too many bytes, lines, or query fields."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A parsed request head; header names are in lower case.

    `length` is the body's in bytes, None for a chunked body. `awaits_continue` says that the client
    sends the body only after 100 Continue (RFC 9110 section 10.1.1). If the head `is_short`, the
    head of the response may be cached. `size` is the head's in bytes.
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
    size: int

    def framing(self) -> Framing | None:
        """Return a new framing for the body; None if there is no body."""
        if self.length is None:
            return ChunkedFraming()
        return LengthFraming(self.length) if self.length else None


def read(head: bytes) -> RequestHead:
    """Parse a complete head including its final blank line; raise `HeadInvalid`."""
    return _cached_read(head) if len(head) <= _SHORT else _read(head)


def _read(head: bytes) -> RequestHead:
    reader = HeadReader()
    try:
        reader.feed(head)
        return reader.result()
    finally:
        reader.drop()


_cached_read = lru_cache(maxsize=_CACHE_SIZE)(_read)


class HeadReader:
    """Parses a head incrementally, so that an invalid one is refused before it is complete.

    It and its parser refer to each other; `drop` ends that, so that a long head is freed at once
    and not when Python's garbage collector runs.
    """

    def __init__(self) -> None:
        self._parser: Any = HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._keep_alive = False
        self._size = 0
        self.is_whole = False

    def feed(self, part: bytes) -> None:
        """Parse the next part; raise `HeadInvalid`.

        Raises `HeadTooLong` for more than MOST_LINES headers, before the head is complete: each
        takes 150 bytes of memory, even if only five arrived.
        """
        self._size += len(part)
        try:
            self._parser.feed_data(part)
        except HttpParserUpgrade:
            pass
        except HttpParserError:
            raise HeadInvalid from None
        if len(self._headers) > MOST_LINES:
            raise HeadTooLong

    def drop(self) -> None:
        """Free the parser; the head is not used any more."""
        self._parser = None

    def on_message_begin(self) -> None:
        """Called by the parser; a second message means that it disagrees about the head's end."""
        if self.is_whole:
            raise HeadInvalid

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Called by the parser, which resets `should_keep_alive` at the end of a message."""
        self.is_whole = True
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Called by the parser when it takes part of the head for a body."""
        raise HeadInvalid

    def result(self) -> RequestHead:
        """Return the parsed head; raise `HeadInvalid`.

        Raises `HeadTooLong` for more than MOST_FIELDS query fields.
        """
        if not self.is_whole:
            raise HeadInvalid
        try:
            return self._result()
        except ValueError:
            raise HeadInvalid from None

    def _result(self) -> RequestHead:
        version = self._parser.get_http_version()
        method = self._parser.get_method().decode("ascii")
        if method == "CONNECT" or version not in _VERSIONS:
            raise ValueError("CONNECT, or an HTTP version other than 1.0 and 1.1")
        raw_path, query, host = _target(self._url)
        if query.count(b"&") >= MOST_FIELDS:
            raise HeadTooLong
        path = raw_path.decode("ascii")
        # In HTTP/1.0 there is neither keep-alive nor 100 Continue.
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
            size=self._size,
        )


def _target(url: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a request target into path, query and host; raise `ValueError` if it has no path.

    The host is empty in origin-form. Absolute-form, which clients of proxies send, has one (RFC
    9112 section 3.2).
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
    """Replace `Host` by the host of an absolute-form target (RFC 9112 section 3.2.2)."""
    return [(b"host", host), *(header for header in headers if header[0] != b"host")]


def _length(headers: list[tuple[bytes, bytes]], version: str) -> int | None:
    """Return the length of the body, None for a chunked body.

    Raises `ValueError` unless HTTP/1.1's exactly one Host is present, and for any transfer coding
    other than a single `chunked`: an undecoded body would be stored as content. HTTP/1.0 has no
    transfer codings.
    """
    hosts = codings = 0
    length: int | None = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            # The parser refuses a non-number, a second one, and one beside a transfer coding.
            length = int(value)
        elif name == b"transfer-encoding":
            if value.strip().lower() != b"chunked" or version == "1.0":
                raise ValueError("the body has an unsupported transfer coding")
            codings, length = codings + 1, None
    if codings > 1 or (hosts != 1 and (hosts or version != "1.0")):
        raise ValueError("there must be one Host and at most one transfer coding")
    return length


def _awaits_continue(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
