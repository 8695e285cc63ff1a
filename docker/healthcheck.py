"""Check that the registry in this container responds; exit 0 if it does, 1 if not.

The address is read from the sockets of the server's process, so it is right however the server was
configured. The request is `GET /`, which no limit counts and which needs no login. A TLS server
responds with an error message or an alert, or closes the connection, before it requests a
certificate. Any of these shows that the process is alive. No response and every 5xx status except
503 are unhealthy: an orchestrator must not replace a registry because it is busy.

It imports little, and only the standard library, because it runs every 30 seconds.
"""

import os
import socket
import sys

from server_process import PROC, find_server

SECONDS = 5.0
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
BUSY = 503

_LISTENING = "0A"  # TCP_LISTEN, include/net/tcp_states.h
_ACCEPTS_CONNECTIONS = 1 << 16  # __SO_ACCEPTCON of a unix socket, include/uapi/linux/net.h


def main() -> int:
    """Check the server of this container; return the exit code."""
    server = find_server()
    if server is None:
        print("no registry server runs in this container")
        return 0
    try:
        addresses = listening_addresses(server[0])
    except PermissionError as error:
        # Missing permissions must not cause a working registry to be replaced.
        print(f"not checked: {error}")
        return 0
    problems = [answer for answer in map(check, addresses) if answer]
    if len(problems) < len(addresses):
        print("the registry responds")
        return 0
    print(f"unhealthy: {'; '.join(problems) or 'the server does not listen'}")
    return 1


def check(address: str | tuple[str, int]) -> str:
    """Send a request to an address; return the problem, or the empty string."""
    family = socket.AF_UNIX if isinstance(address, str) else _family(address[0])
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(SECONDS)
            connection.connect(address)
            connection.sendall(REQUEST)
            answer = connection.recv(64)
    except OSError as error:
        return f"{address}: {error}"
    return problem_of(answer, address)


def problem_of(answer: bytes, address: str | tuple[str, int]) -> str:
    """Return the problem that the first bytes of a response show, or the empty string."""
    words = answer.split()
    if not answer.startswith(b"HTTP/") or len(words) < 2 or not words[1].isdigit():
        return ""  # TLS: an alert, or the connection was closed
    status = int(words[1])
    return f"{address}: status {status}" if status >= 500 and status != BUSY else ""


def listening_addresses(pid: int) -> list[str | tuple[str, int]]:
    """Return the addresses that a process listens on; raise PermissionError if not allowed."""
    inodes = _socket_inodes(pid)
    tcp = [*_tcp_listeners(pid, "tcp", inodes), *_tcp_listeners(pid, "tcp6", inodes)]
    return [*tcp, *_unix_listeners(pid, inodes)]


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _socket_inodes(pid: int) -> set[str]:
    folder = f"{PROC}/{pid}/fd"
    inodes = set()
    for descriptor in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{descriptor}")
        except FileNotFoundError:  # it was closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    return inodes


def _tcp_listeners(pid: int, protocol: str, inodes: set[str]) -> list[tuple[str, int]]:
    """Read /proc/net/tcp or tcp6: the fields are number, address, peer, state, ..., inode (9)."""
    listeners = []
    with open(f"{PROC}/{pid}/net/{protocol}", encoding="ascii") as table:
        table.readline()
        for line in table:
            fields = line.split()
            if fields[3] != _LISTENING:
                break  # the kernel lists the listening sockets first, then the connections
            if fields[9] in inodes:
                host, port = fields[1].split(":")
                listeners.append((_reachable(host), int(port, 16)))
    return listeners


def _unix_listeners(pid: int, inodes: set[str]) -> list[str]:
    """Read /proc/net/unix: the fields are number, count, protocol, flags, ..., inode (6), path."""
    with open(f"{PROC}/{pid}/net/unix", encoding="utf-8", errors="surrogateescape") as table:
        table.readline()
        rows = [line.rstrip("\n").split(maxsplit=7) for line in table]
    return [
        row[7]
        for row in rows
        if len(row) == 8 and int(row[3], 16) & _ACCEPTS_CONNECTIONS and row[6] in inodes
    ]


def _reachable(host: str) -> str:
    """Return the address to connect to, given the kernel's hexadecimal form.

    The kernel prints 32-bit words in the machine's byte order. A wildcard address, also of IPv6, is
    reached at 127.0.0.1: the registry listens on IPv6 and IPv4 with one socket.
    """
    words = [int(host[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(host), 8)]
    packed = b"".join(words)
    if not any(packed):
        return "127.0.0.1"
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


if __name__ == "__main__":
    sys.exit(main())
