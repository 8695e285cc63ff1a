"""The address of a client, also behind trusted proxies."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from starlette.types import Scope

from registry_server.http import proxies
from registry_server.http.proxies import TrustedProxy

_MOST_COUNTED = 4096
_PREFIX_OF_A_CLIENT = 64


def client_address(scope: Scope, trusted: tuple[TrustedProxy, ...] = ()) -> str:
    """Return the client address of a request; "" if it has none, as on a unix socket.

    It is the peer's address; for a trusted peer, the last address in its headers that is not a
    trusted proxy. Malformed headers are ignored.
    """
    if trusted and proxies.has_trusted_peer(scope, trusted):
        address = proxies.forwarded_client(scope, trusted)
        if address is not None:
            return str(address)
    client = scope.get("client")
    return _written(str(client[0])) if client else ""


@lru_cache(maxsize=_MOST_COUNTED)
def _written(peer: str) -> str:
    return str(proxies.parsed(peer) or peer)


@lru_cache(maxsize=_MOST_COUNTED)
def limit_key(address: str) -> str:
    """Return the key that limits count an address under: for IPv6, its /64 network.

    A client with one address of such a network can use all of them.
    """
    parsed = proxies.parsed(address)
    if not isinstance(parsed, ipaddress.IPv6Address):
        return address
    return str(ipaddress.ip_network((int(parsed), _PREFIX_OF_A_CLIENT), strict=False))
