"""The listening sockets of all workers: bound before the first worker, closed after the last.

| `http.addr`                  | listens on                                                       |
|------------------------------|------------------------------------------------------------------|
| `:P`, `0.0.0.0:P`, `[::]:P`  | every interface, by one socket for IPv6 and IPv4, as Go does     |
| `localhost:P`                | 127.0.0.1 and ::1, and what else the name resolves to            |
| another name                 | each of its addresses on this machine; in Go the first IPv4 one  |
| an address                   | that address                                                     |

The first address, an IPv4 one if there is any, must be free. Further addresses that are in use
cause only a warning, because registry:2 would not listen on them.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from registry_server.config import ListenAddress
from registry_server.serving.startup_error import StartupError

logger = logging.getLogger(__name__)

BACKLOG = 2048

# TCP keepalive: after an idle minute, six probes at intervals of ten seconds.
_PROBES = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))

_EVERY_INTERFACE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 (the operator's own words)

# RFC 6761 section 6.3: clients may resolve this name to either address without the resolver.
_LOOPBACK = {"localhost": ("127.0.0.1", "::1", "localhost")}

# An address of another machine; a disabled address family.
_ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

# A port that the system chose for the first address may be in use on the next.
_ATTEMPTS = 10

# A family and its argument of `bind`: host and port, for IPv6 also flow label and scope.
_Address: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]


def listen(address: ListenAddress) -> tuple[socket.socket, ...]:
    """Listen on an address, or on all addresses of a name; raise `StartupError`.

    With port 0 the system chooses one port for all sockets.
    """
    try:
        if address.path is not None:
            return (_listen_unix(address.path),)
        return _listen_tcp(address.host, address.port)
    except (OSError, UnicodeError) as error:
        raise StartupError(f"http.addr: can't listen on {address}: {_reason(error)}") from None


def bound(listeners: Sequence[socket.socket], asked: ListenAddress) -> tuple[ListenAddress, ...]:
    """Return the addresses of `listeners`, with the port that the system chose for port 0."""
    if asked.path is not None:
        return (asked,)
    return tuple(ListenAddress(*listener.getsockname()[:2]) for listener in listeners)


def remove_socket(address: ListenAddress) -> None:
    """Remove the file of a unix socket; do nothing for another address."""
    if address.path is not None:
        address.path.unlink(missing_ok=True)


def _listen_tcp(host: str, port: int) -> tuple[socket.socket, ...]:
    if host in _EVERY_INTERFACE:
        return (_listen_everywhere(port),)
    addresses = _resolve(host, port)
    listeners, taken = _bind_each(addresses)
    for _ in range(_ATTEMPTS if port == 0 else 0):
        if not taken:
            break
        for listener in listeners:
            listener.close()
        listeners, taken = _bind_each(addresses)
    for warning in taken:
        logger.warning("http.addr: %s also names %s", host, warning)
    return tuple(listeners)


def _listen_everywhere(port: int) -> socket.socket:
    """Listen on IPv6 and IPv4 with one socket, or on IPv4 alone where IPv6 is disabled."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    listener = socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=BACKLOG)
    _probe_idle_clients(listener)
    return listener


def _resolve(host: str, port: int) -> list[_Address]:
    """Return the addresses of a name, each once, IPv4 first; raise OSError if there are none."""
    addresses: list[_Address] = []
    for name in _LOOPBACK.get(host.lower(), (host,)):
        # For a `str` Python imports the IDNA codec and its Unicode tables.
        asked = name.encode() if name.isascii() else name
        for answer in socket.getaddrinfo(asked, port, type=socket.SOCK_STREAM):
            address = (answer[0], answer[4])
            if address not in addresses:
                addresses.append(address)
    return sorted(addresses, key=lambda address: address[0] != socket.AF_INET)


def _bind_each(addresses: Sequence[_Address]) -> tuple[list[socket.socket], list[str]]:
    """Bind the addresses that this machine has; return the sockets and those that were in use.

    All get the port of the first. Raises OSError if the first is in use or the machine has none.
    """
    listeners: list[socket.socket] = []
    taken: list[str] = []
    absent: OSError | None = None
    for family, (host, port, *more) in addresses:
        port = listeners[0].getsockname()[1] if listeners else port
        try:
            listener = socket.create_server((host, port, *more), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno in _ABSENT:
                absent = error
            elif listeners:
                taken.append(f"{ListenAddress(host, port)}, can't listen on it: {_reason(error)}")
            else:
                raise
        else:
            _probe_idle_clients(listener)
            listeners.append(listener)
    if absent is not None and not listeners:
        raise absent
    return listeners, taken


def _reason(error: OSError | UnicodeError) -> str:
    """Return the system's message; Python's repeats the address as a tuple."""
    if isinstance(error, (UnicodeError, socket.gaierror)) or not error.errno:
        return getattr(error, "strerror", None) or str(error)
    return os.strerror(error.errno)


def _probe_idle_clients(listener: socket.socket) -> None:
    """Enable TCP keepalive for every accepted connection.

    A client that loses power or its network sends no FIN, and its upload would stay locked.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        if hasattr(socket, option):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _listen_unix(path: Path) -> socket.socket:
    _remove_stale_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(BACKLOG)
    return listener


def _remove_stale_socket(path: Path) -> None:
    """Remove a socket file that no process listens on; if one does, `bind` fails later."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
