"""The address to listen on: `http.net` and `http.addr` as one value."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

_ADDRESS = re.compile(r"(?:\[(?P<bracketed>[^\]\[]*)\]|(?P<plain>[^:\[\]]*)):(?P<port>[^:]*)")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A TCP host and port, or the path of a unix socket.

    An empty `host` means every interface. `port` 0 means any free port. If `path` is set, `host`
    and `port` are not used.
    """

    host: str = ""
    port: int = 0
    path: Path | None = None

    @classmethod
    def parse(cls, net: Literal["tcp", "unix"], addr: str) -> Self:
        """Parse an address in distribution's forms; raise ValueError if it is not one."""
        if net == "unix":
            return cls(path=_socket_path(addr))
        match = _ADDRESS.fullmatch(addr)
        if match is None:
            raise ValueError(
                "must be host:port or :port, such as 127.0.0.1:5000, :5000, [::1]:5000"
            )
        return cls(host=_host(match["bracketed"], match["plain"]), port=_port(match["port"]))

    @property
    def is_loopback(self) -> bool:
        """Whether it is a TCP address that only this machine can connect to.

        Names other than `localhost` are not resolved and count as reachable from other machines.
        """
        if self.path is not None:
            return False
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _socket_path(addr: str) -> Path:
    if not addr or addr.startswith(":") or "\0" in addr:
        raise ValueError("must be the path of a socket, because http.net is unix")
    return Path(addr)


def _host(bracketed: str | None, plain: str | None) -> str:
    if bracketed is not None:
        try:
            address = ipaddress.IPv6Address(bracketed)
        except ValueError:
            raise ValueError("must have an IPv6 address in the brackets") from None
        # A socket for IPv6 only cannot listen on a mapped address; Go listens on the IPv4 address.
        return str(address.ipv4_mapped or address)
    host = plain or ""
    if host and _HOST_NAME.fullmatch(host) is None:
        raise ValueError("has a host that is neither a name nor an IP address")
    return host


def _port(text: str) -> int:
    if _SERVICE.fullmatch(text):
        return _port_of_service(text)
    if _PORT.fullmatch(text) is None or int(text) > _HIGHEST_PORT:
        raise ValueError(f"needs a port from 0 to {_HIGHEST_PORT} after the colon")
    return int(text)


def _port_of_service(name: str) -> int:
    try:
        return socket.getservbyname(name, "tcp")
    except OSError:
        raise ValueError(f"needs a port from 0 to {_HIGHEST_PORT} after the colon") from None
