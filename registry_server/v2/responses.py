"""Responses with content: conditional requests, and blobs as a whole or in parts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from registry_server.http import envelope
from registry_server.http.disconnects import disconnected
from registry_server.http.response import Response
from registry_server.v2.ranges import ByteRange
from storage.interfaces import Blob
from storage.values.buffers import HasDescriptor
from storage.values.digest import Digest

_BYTES = "application/octet-stream"
# An extension of ASGI: the server sends a part of an open file.
_ZERO_COPY = "http.response.zerocopysend"
# Entity tags of a header that are compared. Clients send one or two; 64 KiB can hold 30,000.
_MOST_TAGS = 64

# All headers of a response, with names in lower case; an immutable form that can be cached.
EncodedHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]


class EncodedResponse(Response):
    """A 200 with cached headers, for the most frequent requests.

    Encoding them for each request took 3 us of 25. `headers` must be complete, with Content-Length.
    """

    def __init__(self, body: bytes, headers: EncodedHeaders) -> None:
        self.body = body
        self._headers_sent = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        headers = self._headers_sent
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def encoded(headers: Mapping[str, str]) -> EncodedHeaders:
    """Return encoded headers, with the API version header that every response has."""
    lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return (*lines, envelope.API_VERSION)


def content_headers(digest: Digest) -> dict[str, str]:
    """Return the headers that identify content by its digest; the ETag is strong."""
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}


def header_values(request: Request, name: bytes) -> tuple[str, ...]:
    """Return all values of a request header, in order; `name` is in lower case.

    They are read from the ASGI scope, at half the cost of Starlette's mapping.
    """
    headers = request.scope["headers"]
    return tuple([value.decode("latin-1") for key, value in headers if key == name])


def not_modified(request: Request, digest: Digest) -> bool:
    """Return whether If-None-Match has the digest (RFC 9110 section 13.1.2).

    Some clients send it without quotes. The comparison is weak, as the RFC requires.
    """
    names = (str(digest), "*")
    for header in header_values(request, b"if-none-match"):
        for tag in header.split(",", _MOST_TAGS)[:_MOST_TAGS]:
            if tag.strip().removeprefix("W/").strip('"') in names:
                return True
    return False


def range_applies(request: Request, digest: Digest) -> bool:
    """Return whether the Range header applies, given If-Range (RFC 9110 section 13.1.5)."""
    condition = request.headers.get("if-range")
    return condition is None or condition.strip() == f'"{digest}"'


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of the body: some bytes of framing, then a part of the blob."""

    head: bytes
    part: ByteRange

    @property
    def length(self) -> int:
        """The number of bytes."""
        return len(self.head) + self.part.stop - self.part.start


class BlobResponse(Response):
    """Sends a blob, or `parts` of it, and always closes it."""

    def __init__(
        self, blob: Blob, parts: tuple[ByteRange, ...], headers: Mapping[str, str]
    ) -> None:
        self._blob = blob
        boundary = uuid.uuid4().hex
        self._frames = _frames(blob.size, parts, boundary)
        length = {"Content-Length": str(sum(frame.length for frame in self._frames))}
        super().__init__(
            status_code=206 if parts else 200,
            headers={**headers, **_framing(blob.size, parts, boundary), **length},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; zero-copy if both the blob and the server support it."""
        start = {"type": "http.response.start", "status": self.status_code}
        sends_files = _ZERO_COPY in scope.get("extensions", {})
        try:
            await send({**start, "headers": self.raw_headers})
            if sends_files and self._blob.file is not None:
                await self._send_file(send, self._blob.file)
            else:
                await self._send_stream(receive, send)
        finally:
            await self._blob.close()

    async def _send_file(self, send: Send, file: HasDescriptor) -> None:
        *_, last = self._frames
        for frame in self._frames:
            if frame.head:
                await send(_part(frame.head))
            await send(
                {
                    "type": _ZERO_COPY,
                    "file": file,
                    "offset": frame.part.start,
                    "count": frame.part.stop - frame.part.start,
                    "more_body": frame is not last,
                }
            )

    async def _send_stream(self, receive: Receive, send: Send) -> None:
        """Stream the blob; stop when the client disconnects."""
        watch = asyncio.create_task(disconnected(receive))
        try:
            for frame in self._frames:
                if frame.head:
                    await send(_part(frame.head))
                async for data in self._blob.stream(frame.part.start, frame.part.stop):
                    if watch.done():
                        return
                    await send(_part(data))
            await send({"type": "http.response.body", "body": b""})
        finally:
            watch.cancel()


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _framing(size: int, parts: tuple[ByteRange, ...], boundary: str) -> dict[str, str]:
    """Return the headers for the kind of body: the whole blob, one part, or several parts."""
    if len(parts) > 1:
        return {"Content-Type": f"multipart/byteranges; boundary={boundary}"}
    plain = {"Content-Type": _BYTES}
    return plain | {"Content-Range": parts[0].content_range(size)} if parts else plain


def _frames(size: int, parts: tuple[ByteRange, ...], boundary: str) -> tuple[Frame, ...]:
    if len(parts) <= 1:
        return (Frame(b"", parts[0] if parts else ByteRange(0, size)),)
    last = Frame(f"\r\n--{boundary}--\r\n".encode(), ByteRange(0, 0))
    return (*(Frame(_head(size, part, boundary), part) for part in parts), last)


def _head(size: int, part: ByteRange, boundary: str) -> bytes:
    """Return the head of one of several parts (RFC 9110 section 14.6)."""
    lines = (
        "",
        f"--{boundary}",
        f"Content-Type: {_BYTES}",
        f"Content-Range: {part.content_range(size)}",
        "",
        "",
    )
    return "\r\n".join(lines).encode()
