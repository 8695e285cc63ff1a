"""The socket all workers accept on: bound before them, and tidied away after the last of them."""

from __future__ import annotations

import socket
import stat
from dataclasses import replace
from pathlib import Path

from registry_server.config import Endpoint
from registry_server.startup import StartupError

BACKLOG = 2048

# After a minute of silence ask every ten seconds, six times.
_PROBES = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))


def listen(endpoint: Endpoint) -> socket.socket:
    """Bind the address; raise `StartupError`."""
    try:
        if endpoint.path is not None:
            return _listen_unix(endpoint.path)
        return _listen_tcp(endpoint.host, endpoint.port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StartupError(f"the address {endpoint} can't be listened on: {reason}") from None


def bound(listener: socket.socket, asked: Endpoint) -> Endpoint:
    """Return the address with the port the system chose, where it was asked to choose one."""
    return asked if asked.path is not None else replace(asked, port=listener.getsockname()[1])


def remove_socket(endpoint: Endpoint) -> None:
    """Remove the file of a unix socket, if it is one that was listened on."""
    if endpoint.path is not None:
        endpoint.path.unlink(missing_ok=True)


def _listen_tcp(host: str, port: int) -> socket.socket:
    if not host:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        made = socket.create_server(("", port), family=family, dualstack_ipv6=both, backlog=BACKLOG)
    else:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=BACKLOG)
    _notice_the_dead(made)
    return made


def _notice_the_dead(listener: socket.socket) -> None:
    """Have the kernel find out, on every accepted connection, about clients that are no more.

    One whose power or network went sends no end. Nobody would let go of its upload.
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
    """Remove a socket nobody listens on any more; one in use fails in bind, as a port would."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
