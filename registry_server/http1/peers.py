"""Whom the other side of a TLS connection says it is, and has proved to be."""

from __future__ import annotations

import asyncio

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
