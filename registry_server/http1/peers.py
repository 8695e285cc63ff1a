"""The other side of a connection: who it has proved to be, and for how long it is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import socket

# Where a request's scope holds the name; ASGI's extension for TLS has the whole certificate, which
# nobody here asks for.
CERTIFIED = "registry.certified"


def certified_name(transport: asyncio.BaseTransport) -> str:
    """Return the common name of the client's certificate; nothing without one, or with several.

    The context has verified it against `http.tls.clientcas`: else there is no connection.
    """
    found = transport.get_extra_info("peercert") or {}
    names = [
        value for part in found.get("subject", ()) for key, value in part if key == "commonName"
    ]
    return names[0] if len(names) == 1 and names[0].isprintable() else ""


def give_up_after(transport: asyncio.BaseTransport, seconds: float) -> None:
    """Have the kernel end a connection whose other side takes nothing of what waits for it.

    That is so for one that is gone without a word, and for one that has its window shut (RFC 5482;
    for the latter since Linux 5.11). Nothing here needs to look. Elsewhere, and on a unix socket,
    there is no limit.
    """
    found: socket.socket | None = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if found is None or option is None or found.family == socket.AF_UNIX:
        return
    with contextlib.suppress(OSError):
        found.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
