"""Request bodies: small ones are read whole, blobs are streamed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request

from registry_server.http.extensions import BODY_BUFFERS, REPORT_HELD
from registry_server.v2 import upload_state
from registry_server.v2.refusals import PayloadTooLarge
from storage.errors import ChunkOutOfOrder, ChunkSizeMismatch
from storage.values.buffers import Buffer
from storage.values.declared_range import DeclaredRange

# The spec's form is `0-99`; older clients send HTTP's own form, `bytes 0-99/*`.
_CONTENT_RANGE = re.compile(
    r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]+|\*))?", re.ASCII
)


async def read_limited(request: Request, limit: int, count: Callable[[int], object] = int) -> bytes:
    """Return a body of at most `limit` bytes; raise `PayloadTooLarge` as soon as it is larger.

    `count` is called with the size of each part that arrives.
    """
    if (content_length(request) or 0) > limit:
        raise PayloadTooLarge(limit)
    body = bytearray()
    report_held = request.scope.get(REPORT_HELD, lambda _: None)
    async for data in request.stream():
        body += data
        count(len(data))
        if len(body) > limit:
            raise PayloadTooLarge(limit)
        report_held(len(body))
    return bytes(body)


def pieces(request: Request) -> AsyncIterator[Buffer]:
    """Yield a body as it arrives, straight from the transport if the server supports that.

    A yielded buffer may be overwritten once the third buffer after it is requested. Raises
    ClientDisconnect if the client disconnects before the end of the body.
    """
    direct = request.scope.get("extensions", {}).get(BODY_BUFFERS)
    return direct() if direct is not None else _events(request)


async def _events(request: Request) -> AsyncIterator[Buffer]:
    async for data in request.stream():
        if data:
            yield data


def content_length(request: Request) -> int | None:
    """Return Content-Length, or None if it is missing, as for a chunked body."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def announced(request: Request) -> DeclaredRange:
    """Return the range of a blob that is sent in one request; only its length may be declared."""
    return DeclaredRange(announced=content_length(request))


def chunk(request: Request, size: int) -> DeclaredRange:
    """Return the range of a chunk for a session of `size` bytes (spec, "Pushing a blob in chunks").

    It is in Content-Range, or else its start is in the `_state` of the URL. Raises
    `ChunkOutOfOrder` for a malformed header, and `ChunkSizeMismatch`, before the body is read, for
    one that contradicts Content-Length. A range that is one byte too long is accepted: some clients
    send an exclusive end, and registry:2 ignores the header.
    """
    header = request.headers.get("content-range")
    if header is None:
        return _placed(request)
    match = _CONTENT_RANGE.fullmatch(header.strip())
    first, last = map(int, match.groups()) if match else (-1, -2)
    if last < first:
        raise ChunkOutOfOrder(first, size)
    length, declared = last - first + 1, content_length(request)
    if declared == length - 1:
        return DeclaredRange(first, declared)
    if declared is not None and declared != length and first == size:
        raise ChunkSizeMismatch(length, declared, size)
    return DeclaredRange(first, length)


def _placed(request: Request) -> DeclaredRange:
    """Return the range of a chunk without Content-Range; an empty chunk may start anywhere.

    Scripts finish an upload with an empty PUT to the first URL of the session.
    """
    announced = content_length(request)
    if not announced and "transfer-encoding" not in request.headers:
        return DeclaredRange(announced=announced)
    return DeclaredRange(start=upload_state.offset(request), announced=announced)
