"""Reads the headers in which proxies describe the original request, as far as they are trusted.

The headers are X-Forwarded-For, -Proto and -Host, or Forwarded, which has all three (RFC 7239). A
proxy appends to the right of what its client sent (section 4), so lists are read from the right, up
to the first address that is not a trusted proxy. A client can send a header that its proxy does not
overwrite. Nearly all proxies write X-Forwarded-*, so Forwarded counts only without these.

The peer of a unix socket has no address. The word `unix` trusts every process that may open the
socket, and no address in a header.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from starlette.types import Scope

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
# Which proxies are trusted: those with an address of the network, or the peers of a unix socket.
TrustedProxy: TypeAlias = Network | Literal["unix"]

UNIX: Final = "unix"

_FOR = b"x-forwarded-for"
_PROTO = b"x-forwarded-proto"
_HOST = b"x-forwarded-host"
_FORWARDED = b"forwarded"
_HOST_ASKED = b"host"

# Headers of proxies, beside every X-Forwarded-*. Clients do not send them.
_SIGNS = frozenset({_FORWARDED, b"via", b"x-real-ip"})
_SIGN = b"x-forwarded-"

_MOST_HOPS = 32
_LONGEST_NODE = 64  # characters of an address with its port
_LONGEST_LINE = 8192
_MOST_PARSED = 4096
# Characters: the longest address of IPv6, and the name of its zone.
_LONGEST_ADDRESS = 64

# RFC 7239, 6, without obfuscated identifiers. Some load balancers add ports.
_NODE = re.compile(
    r"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)"
)
# One pair of an element, and its delimiter; IPv6 addresses are often not quoted.
_PAIR = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;\\]+))[ \t]*(;|,|$)"
)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Hop:
    """A proxy's description of a request: the node it came from, the scheme and the host.

    "" stands for a missing or malformed value.
    """

    node: str = ""
    proto: str = ""
    host: str = ""


def peer(scope: Scope) -> Address | None:
    """Return the address of the connection's peer; None for a unix socket."""
    client = scope.get("client")
    return parsed(str(client[0])) if client else None


def host(scope: Scope) -> str:
    """Return the value of the Host header, or ""."""
    return next(iter(_lines(scope, _HOST_ASKED)), "")


def seems_proxied(scope: Scope) -> bool:
    """Return whether a request seems to come through a proxy, trusted or not.

    HTTP/1.0, nginx's default, is a sign of one, and so is a unix socket.
    """
    if scope["http_version"] == "1.0" or peer(scope) is None:
        return True
    return any(name in _SIGNS or name.startswith(_SIGN) for name, _ in scope["headers"])


def is_trusted(address: Address | None, trusted: tuple[TrustedProxy, ...]) -> bool:
    """Return whether an address belongs to a trusted proxy."""
    networks = (proxy for proxy in trusted if proxy != UNIX)
    return address is not None and any(address in network for network in networks)


def has_trusted_peer(scope: Scope, trusted: tuple[TrustedProxy, ...]) -> bool:
    """Return whether the peer of a request is a trusted proxy."""
    if scope.get("client") is None:
        return UNIX in trusted
    return is_trusted(peer(scope), trusted)


def forwarded_client(scope: Scope, trusted: tuple[TrustedProxy, ...]) -> Address | None:
    """Return the client address in the headers of a request from a trusted proxy.

    It is the last address that is not a trusted proxy, or the first one if all are. None if the
    list is malformed up to that address.
    """
    address = None
    for hop, node in enumerate(_nodes(scope)):
        address = _address_of(node)
        if address is None or hop >= _MOST_HOPS:
            return None
        if not is_trusted(address, trusted):
            return address
    return address


def requested_origin(scope: Scope, trusted: tuple[TrustedProxy, ...]) -> Hop:
    """Return the scheme and host that the client requested, by the headers of a trusted proxy."""
    proto, host = _first(scope, _PROTO), _first(scope, _HOST)
    if not proto and not host and not _lines(scope, _FOR):
        return _asked_of(_hops(scope), trusted)
    return Hop(proto=proto, host=host)


def _asked_of(hops: Iterable[Hop], trusted: tuple[TrustedProxy, ...]) -> Hop:
    """Return the values of the trusted proxy that is nearest to the client."""
    nearest = Hop()
    for index, hop in enumerate(hops):
        if index >= _MOST_HOPS or hop == Hop():
            break
        nearest = replace(hop, proto=hop.proto or nearest.proto, host=hop.host or nearest.host)
        if not is_trusted(_address_of(hop.node), trusted):
            break
    return nearest


def parsed(text: str) -> Address | None:
    """Parse an address; None for any other text.

    An IPv4-mapped address of a dual-stack socket becomes its IPv4 address.
    """
    return _parsed(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=_MOST_PARSED)
def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _nodes(scope: Scope) -> Iterator[str]:
    """Yield the nodes that the proxies name, the last one first; "" for a malformed one."""
    lines = _lines(scope, _FOR)
    if lines:
        yield from reversed(",".join(lines).rsplit(",", _MOST_HOPS))
        return
    yield from (hop.node for hop in _hops(scope))


def _hops(scope: Scope) -> Iterator[Hop]:
    """Yield the elements of Forwarded, the last one first."""
    for line in reversed(_lines(scope, _FORWARDED)):
        yield from reversed(_elements(line))


def _elements(line: str) -> list[Hop]:
    """Return the elements of a Forwarded line; one empty element if the line is malformed."""
    elements: list[Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    line = line if len(line) <= _LONGEST_LINE else ""
    while True:
        pair = _PAIR.match(line, at)
        if pair is None:
            return [Hop()]
        pairs[pair[1].lower()] = pair[3] if pair[2] is None else _ESCAPED.sub(r"\1", pair[2])
        if pair[4] != ";":
            elements.append(Hop(*(pairs.get(name, "") for name in ("for", "proto", "host"))))
            pairs = {}
        if not pair[4]:
            return elements
        at = pair.end()


def _lines(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _first(scope: Scope, name: bytes) -> str:
    lines = _lines(scope, name)
    return lines[0].partition(",")[0].strip() if lines else ""


def _address_of(node: str) -> Address | None:
    """Return the address of a node with or without a port; None for any other node."""
    node = node.strip(" \t")
    match = _NODE.fullmatch(node) if len(node) <= _LONGEST_NODE else None
    return None if match is None else parsed(match[1] or match[2] or match[3])
