"""Refusals of requests that reach no handler."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Send

from registry_server.http import envelope


async def refuse(
    send: Send, status: int, code: str, message: str, more: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Send a response with one error in the envelope, and `more` headers."""
    body = envelope.body([envelope.entry(code, message)])
    headers = [
        envelope.API_VERSION,
        (b"content-type", envelope.MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
