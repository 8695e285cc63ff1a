"""What proxies say about a request that they pass on, and which of them is believed.

Two headers tell where it came from: X-Forwarded-For, with X-Forwarded-Proto and X-Forwarded-Host
beside it, and Forwarded, which has all three (RFC 7239). What a proxy adds stands to the right of
what its client sent (section 4 there), so lists are read from there, and no further than to the
first address that nobody trusted has added. A client can send the headers that its proxy does not
write: Forwarded counts only where those are not, which nearly all proxies write.

The peer of a unix socket has no address. The word `unix` trusts each process that may open the
socket, and no node that a header names.
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

# RFC 7239, 6, without the names that stand for no address. Load balancers add ports here and there.
_NODE = re.compile(
    r"([0-9.]+)(?::[0-9]{1,5})?|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)"
)
# One pair of an element, and what ends it; addresses of IPv6 are often left without quotes.
_PAIR = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;\\]+))[ \t]*(;|,|$)"
)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Hop:
    """What a proxy says of a request it got: from which node, asking which host, by which scheme.

    "" is for what it does not say, or can't be read.
    """

    node: str = ""
    proto: str = ""
    host: str = ""


def peer(scope: Scope) -> Address | None:
    """Return the address at the other end of the connection; None where that has none."""
    client = scope.get("client")
    return parsed(str(client[0])) if client else None


def host(scope: Scope) -> str:
    """Return what the Host header says, "" without one."""
    return next(iter(_lines(scope, _HOST_ASKED)), "")


def has_signs(scope: Scope) -> bool:
    """Tell whether a request has signs of a proxy, trusted or not.

    HTTP/1.0 is one, which nginx speaks by default, and so is a unix socket.
    """
    if scope["http_version"] == "1.0" or peer(scope) is None:
        return True
    return any(name in _SIGNS or name.startswith(_SIGN) for name, _ in scope["headers"])


def is_trusted(address: Address | None, trusted: tuple[TrustedProxy, ...]) -> bool:
    """Tell whether an address is a proxy's that is believed."""
    networks = (each for each in trusted if each != UNIX)
    return address is not None and any(address in network for network in networks)


def has_trusted_peer(scope: Scope, trusted: tuple[TrustedProxy, ...]) -> bool:
    """Tell whether a request comes by a proxy that is believed."""
    if scope.get("client") is None:
        return UNIX in trusted
    return is_trusted(peer(scope), trusted)


def origin(scope: Scope, trusted: tuple[TrustedProxy, ...]) -> Address | None:
    """Return where a request came from, as the trusted proxy that it comes by says.

    It is the last address that is no trusted proxy's, or the first where all are; None when the
    list can't be read so far.
    """
    found = None
    for hop, node in enumerate(_nodes(scope)):
        found = _address_of(node)
        if found is None or hop >= _MOST_HOPS:
            return None
        if not is_trusted(found, trusted):
            return found
    return found


def asked(scope: Scope, trusted: tuple[TrustedProxy, ...]) -> Hop:
    """Return the scheme and host that a client asked for, as the trusted proxy it comes by says."""
    proto, host = _first(scope, _PROTO), _first(scope, _HOST)
    if not proto and not host and not _lines(scope, _FOR):
        return _asked_of(_hops(scope), trusted)
    return Hop(proto=proto, host=host)


def _asked_of(hops: Iterable[Hop], trusted: tuple[TrustedProxy, ...]) -> Hop:
    """Return what the outermost of trusted proxies say, which is the nearest to the client."""
    found = Hop()
    for at, hop in enumerate(hops):
        if at >= _MOST_HOPS or hop == Hop():
            break
        found = replace(hop, proto=hop.proto or found.proto, host=hop.host or found.host)
        if not is_trusted(_address_of(hop.node), trusted):
            break
    return found


def parsed(text: str) -> Address | None:
    """Parse an address; None for what is none.

    One of IPv4 is of IPv4, also where a socket for both families calls it otherwise.
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
    """Yield where proxies had it from, the last one first; "" for what can't be read."""
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
    """Return the elements of a line of Forwarded; a line that can't be read has an empty one."""
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
    """Return the address of a node, which may have a port; None when it has none."""
    node = node.strip(" \t")
    found = _NODE.fullmatch(node) if len(node) <= _LONGEST_NODE else None
    return None if found is None else parsed(found[1] or found[2] or found[3])
