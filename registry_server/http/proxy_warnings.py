"""Warns the operator about a proxy that is missing from `http.trustedproxies`.

The URL for tokens is absolute. Behind a proxy that is not trusted it has the scheme and host of the
connection from that proxy, so clients may send passwords to the wrong place.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from starlette.types import Scope

from registry_server.http import proxies
from registry_server.http.proxies import UNIX, Address, TrustedProxy

logger = logging.getLogger(__name__)

# Any client can send such headers, so the number of warnings is limited.
MOST_ADDRESSES = 16


class ProxyWarnings:
    """Logs a warning once for each address that forwards requests and is not trusted."""

    def __init__(self) -> None:
        self._warned: set[Address | None] = set()

    def notice(self, scope: Scope, trusted: tuple[TrustedProxy, ...], origin: str) -> None:
        """Warn about the peer of a request if its headers name another origin than `origin`."""
        peer = proxies.peer(scope)
        if peer in self._warned or len(self._warned) >= MOST_ADDRESSES:
            return
        claimed = proxies.requested_origin(scope, ())
        if f"{claimed.proto or scope['scheme']}://{claimed.host or proxies.host(scope)}" == origin:
            return
        self._warned.add(peer)
        logger.warning(
            "a proxy that is not trusted sent X-Forwarded-Proto, X-Forwarded-Host or Forwarded; "
            "they are ignored, and clients are sent to %s for tokens; if %s is your proxy, "
            "add to the configuration: %s",
            origin,
            "the process at the unix socket" if peer is None else peer,
            _line(trusted, UNIX if peer is None else peer),
        )


def _line(trusted: Iterable[TrustedProxy], peer: Address | str) -> str:
    """Return the line of YAML that also trusts `peer`."""
    return f"http: {{trustedproxies: {json.dumps([str(proxy) for proxy in (*trusted, peer)])}}}"
