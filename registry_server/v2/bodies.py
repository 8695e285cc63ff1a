"""Request bodies: bounded ones read whole, unbounded ones passed on piece by piece."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request

from registry_server.http1.backlog import HOLD
from registry_server.http1.direct import EXTENSION as DIRECT
from registry_server.v2 import upload_state
from registry_server.v2.problems import PayloadTooLarge
from storage.buffers import Buffer
from storage.errors import ChunkOutOfOrder, ChunkSizeMismatch
from storage.pipeline import Chunk

# The spec writes `0-99`; older clients write it as other protocols do, `bytes 0-99/*`.
_CONTENT_RANGE = re.compile(
    r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]+|\*))?", re.ASCII
)


async def read_limited(request: Request, limit: int, count: Callable[[int], object] = int) -> bytes:
    """Read a body of at most `limit` bytes; raise `PayloadTooLarge` as soon as that is known.

    `count` is called with the size of each part that arrives.
    """
    if (content_length(request) or 0) > limit:
        raise PayloadTooLarge(limit)
    body = bytearray()
    hold = request.scope.get(HOLD, lambda _: None)
    async for data in request.stream():
        body += data
        count(len(data))
        if len(body) > limit:
            raise PayloadTooLarge(limit)
        hold(len(body))
    return bytes(body)


def pieces(request: Request) -> AsyncIterator[Buffer]:
    """Yield a body as it arrives, by the shortest way the server offers.

    What is yielded may be written into again once the third one behind it is asked for. Raises
    ClientDisconnect when the client leaves before its end.
    """
    direct = request.scope.get("extensions", {}).get(DIRECT)
    return direct() if direct is not None else _events(request)


async def _events(request: Request) -> AsyncIterator[Buffer]:
    async for data in request.stream():
        if data:
            yield data


def content_length(request: Request) -> int | None:
    """Return what Content-Length says, None when it is absent (a chunked body)."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def announced(request: Request) -> Chunk:
    """Read Content-Length, for a body that says nothing else of itself."""
    return Chunk(announced=content_length(request))


def chunk(request: Request, held: int) -> Chunk:
    """Read Content-Range (spec, "Pushing a blob in chunks"), for a session of `held` bytes.

    A malformed one is out of order; one that disagrees with Content-Length is refused before the
    body is read. One byte too many is accepted: some clients write the first byte that they do not
    send as the end, and registry:2 ignores the header. Without the header the `_state` of the URL
    says where the chunk starts, if it can.
    """
    header = request.headers.get("content-range")
    if header is None:
        return _placed(request)
    match = _CONTENT_RANGE.fullmatch(header.strip())
    first, last = map(int, match.groups()) if match else (-1, -2)
    if last < first:
        raise ChunkOutOfOrder(first, held)
    length, declared = last - first + 1, content_length(request)
    if declared == length - 1:
        return Chunk(first, declared)
    if declared is not None and declared != length and first == held:
        raise ChunkSizeMismatch(length, declared, held)
    return Chunk(first, length)


def _placed(request: Request) -> Chunk:
    """Read where a chunk without Content-Range starts; an empty one has no place.

    Scripts close an upload with a PUT without a body, to the first URL they got.
    """
    announced = content_length(request)
    if not announced and "transfer-encoding" not in request.headers:
        return Chunk(announced=announced)
    return Chunk(start=upload_state.offset(request), announced=announced)
