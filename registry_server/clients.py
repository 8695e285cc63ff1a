"""Who the client is: the address it came from, also through proxies that are trusted.

What a proxy adds stands to the right of what its client sent (RFC 7239, section 4), so a list is
read from there, and no further than to the first address that nobody trusted has added.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeAlias

from starlette.types import Scope

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORWARDED_FOR = b"x-forwarded-for"
_FORWARDED = b"forwarded"

_MOST_HOPS = 32
_LONGEST_NODE = 64  # characters of an address with its port
_LONGEST_LINE = 8192
_MOST_PARSED = 4096

# RFC 7239, 6, without the names that stand for no address. Load balancers add ports here and there.
_NODE = re.compile(
    r"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)"
)
# One pair of an element, and what ends it; addresses of IPv6 are often left without quotes.
_PAIR = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;\\]+))[ \t]*(;|,|$)"
)
_PREFIX_OF_A_CLIENT = 64


def client_address(scope: Scope, trusted: tuple[Network, ...] = ()) -> str:
    """Return the address a request came from; nothing where it has none, as on a unix socket.

    It is the peer's, unless that is a proxy of `trusted`: then it is the last of X-Forwarded-For
    that is no such proxy, or without that header, the last `for` of Forwarded (RFC 7239). Where the
    whole list is trusted it is the first one. Lists that can't be read are as none.
    """
    client = scope.get("client")
    peer = str(client[0]) if client else ""
    address = _parsed(peer)
    if address is None:
        return peer
    if _is_trusted(address, trusted):
        address = _origin(_nodes(scope), trusted) or address
    return str(address)


@lru_cache(maxsize=_MOST_PARSED)
def counted_as(address: str) -> str:
    """Return whom limits take an address for: of IPv6 the network of 64 bits that it is in.

    Whoever has one address of such a network has all of them.
    """
    parsed = _parsed(address)
    if not isinstance(parsed, ipaddress.IPv6Address):
        return address
    return str(ipaddress.ip_network((int(parsed), _PREFIX_OF_A_CLIENT), strict=False))


def _is_trusted(address: Address, trusted: tuple[Network, ...]) -> bool:
    return any(address in network for network in trusted)


def _origin(nodes: Iterable[str], trusted: tuple[Network, ...]) -> Address | None:
    """Return where a request came from, by what proxies say, from the last of them to the first."""
    origin = None
    for hop, node in enumerate(nodes):
        origin = _address_of(node)
        if origin is None or hop >= _MOST_HOPS:
            return None
        if not _is_trusted(origin, trusted):
            return origin
    return origin


def _nodes(scope: Scope) -> Iterator[str]:
    """Yield what proxies wrote down, the last one first; "" for what can't be read.

    A client can add the header that its proxy does not write, so there is one that counts: the one
    that nearly all of them write.
    """
    lines = _lines(scope, _FORWARDED_FOR)
    if lines:
        yield from reversed(",".join(lines).rsplit(",", _MOST_HOPS))
        return
    for line in reversed(_lines(scope, _FORWARDED)):
        yield from reversed(_forwarded(line))


def _lines(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _forwarded(line: str) -> list[str]:
    """Return the `for` of each element of a line of Forwarded (RFC 7239, section 4)."""
    nodes, node, at = [], "", 0
    line = line if len(line) <= _LONGEST_LINE else ""
    while True:
        pair = _PAIR.match(line, at)
        if pair is None:
            return [""]
        if pair[1].lower() == "for":
            node = pair[3] if pair[2] is None else pair[2]
        if pair[4] != ";":
            nodes.append(node)
            node = ""
        if not pair[4]:
            return nodes
        at = pair.end()


def _address_of(node: str) -> Address | None:
    """Return the address of a node, which may have a port; None when it has none."""
    node = node.strip(" \t")
    found = _NODE.fullmatch(node) if len(node) <= _LONGEST_NODE else None
    return None if found is None else _parsed(found[1] or found[2] or found[3])


@lru_cache(maxsize=_MOST_PARSED)
def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # What a socket for both families calls a client of IPv4.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
