"""Renders response heads (pure)."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from registry_server.http import envelope
from registry_server.serving.http1.request_heads import HEAD_LIMIT, MOST_FIELDS, MOST_LINES

Header: TypeAlias = tuple[bytes, bytes]

_REASONS = {
    HTTPStatus.REQUEST_TIMEOUT: "the request arrived too slowly",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
        f"a request has at most {HEAD_LIMIT} bytes before its body, {MOST_LINES} header lines "
        f"and {MOST_FIELDS} fields in its query"
    ),
}
_BODILESS = frozenset({204, 304})


class AnswerHead(NamedTuple):
    """A rendered head; `length` is the declared body length, None for a chunked body."""

    rendered: bytes
    length: int | None
    keep_alive: bool


def answer_head(
    status: int, headers: tuple[Header, ...], *, bodiless: bool, keep_alive: bool
) -> AnswerHead:
    """Render the head of a response without the final blank line.

    `headers` are the application's, with lower-case names as in ASGI. Adds `X-Content-Type-Options:
    nosniff` (Fetch) unless it is present. Raises `ValueError` for a line break in a header.
    """
    length = 0 if bodiless or status in _BODILESS else None
    says_close = False
    lines = [b"%b: %b\r\n" % header for header in headers]
    if envelope.NO_SNIFF[0] not in dict(headers):
        lines.append(b"%b: %b\r\n" % envelope.NO_SNIFF)
    for name, value in headers:
        if name == b"content-length" and length is None:
            length = int(value)
        elif name == b"connection":
            says_close = b"close" in value.lower()
    if not keep_alive and not says_close:
        lines.append(b"connection: close\r\n")
    if length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    rendered = b"".join((STATUS_LINE[status], *lines))
    breaks = len(lines) + 1
    if rendered.count(b"\n") != breaks or rendered.count(b"\r") != breaks or b"\0" in rendered:
        raise ValueError("a header has a line break in it")
    return AnswerHead(rendered, length, keep_alive and not says_close)


# The nodes of a cluster send the same few requests, so few response heads differ. Use it only for
# responses to short requests: a redirect repeats the request target, and a thousand cached heads of
# 180 KiB would exhaust memory.
cached_answer_head = lru_cache(maxsize=1024)(answer_head)


def refusal(status: HTTPStatus, id_line: bytes = b"") -> bytes:
    """Render the complete response to an invalid request; it closes the connection."""
    reason = _REASONS.get(status, "not a valid request")
    message = f"{status.phrase.lower()}: {reason}"
    body = envelope.body([envelope.entry("UNSUPPORTED", message)])
    return closing_answer(status, body).with_line(id_line)


class ClosingAnswer(NamedTuple):
    """A complete response that bypasses the application and closes the connection."""

    head: bytes
    rest: bytes  # the blank line and the body

    def with_line(self, line: bytes) -> bytes:
        """Return the response with one more header line; b"" adds none."""
        return self.head + line + self.rest


def closing_answer(status: HTTPStatus, body: bytes) -> ClosingAnswer:
    """Render a response that bypasses the application and closes the connection."""
    head = b"".join(b"%b: %b\r\n" % header for header in envelope.last_headers(body))
    return ClosingAnswer(STATUS_LINE[status] + head, b"\r\n" + body)
