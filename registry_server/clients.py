"""Who the client is: the address it came from, also through proxies that are trusted."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from starlette.types import Scope

from registry_server import proxies
from registry_server.proxies import TrustedProxy

_MOST_COUNTED = 4096
_PREFIX_OF_A_CLIENT = 64


def client_address(scope: Scope, trusted: tuple[TrustedProxy, ...] = ()) -> str:
    """Return the address a request came from; "" for none, as on a unix socket.

    It is the peer's, unless that is a proxy of `trusted`: then it is the last address that its
    headers have and that is no such proxy's. Lists that can't be read are as none.
    """
    address = proxies.peer(scope)
    if proxies.has_trusted_peer(scope, trusted):
        address = proxies.origin(scope, trusted) or address
    if address is None:
        client = scope.get("client")
        return str(client[0]) if client else ""
    return str(address)


@lru_cache(maxsize=_MOST_COUNTED)
def counted_as(address: str) -> str:
    """Return whom limits take an address for: of IPv6 the network of 64 bits that it is in.

    Whoever has one address of such a network has all of them.
    """
    parsed = proxies.parsed(address)
    if not isinstance(parsed, ipaddress.IPv6Address):
        return address
    return str(ipaddress.ip_network((int(parsed), _PREFIX_OF_A_CLIENT), strict=False))
