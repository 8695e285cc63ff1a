"""Ask the registry in this container whether it answers; exit 0 when it does, 1 when not.

The address comes from the sockets of the server's process, so it is right whatever file, option or
variable it was configured by. The request is `GET /`, which limits do not count and which needs no
login. A server that speaks TLS answers it with an error message or an alert, or closes, before it
asks for a certificate. Each of that shows that the process is alive. What is unhealthy is silence,
and a 5xx status but for 503: an orchestrator must not replace a registry because it is busy.

Standard library only, and little of it: the check runs every 30 seconds.
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
        print("no registry is served here")
        return 0
    try:
        addresses = listening_addresses(server[0])
    except PermissionError as error:
        # A check that may not look must not have a working registry replaced.
        print(f"not checked: {error}")
        return 0
    problems = [answer for answer in map(check, addresses) if answer]
    if len(problems) < len(addresses):
        print("the registry answers")
        return 0
    print(f"unhealthy: {'; '.join(problems) or 'the server does not listen'}")
    return 1


def check(address: str | tuple[str, int]) -> str:
    """Ask the server at an address; return what is wrong with it, or the empty string."""
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
    """Return what is wrong with the first bytes of an answer, or the empty string."""
    words = answer.split()
    if not answer.startswith(b"HTTP/") or len(words) < 2 or not words[1].isdigit():
        return ""  # TLS: an alert, or the end of the connection
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
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    return inodes


def _tcp_listeners(pid: int, protocol: str, inodes: set[str]) -> list[tuple[str, int]]:
    """Read /proc/net/tcp or tcp6: the fields are number, address, peer, state, ..., inode (9)."""
    found = []
    with open(f"{PROC}/{pid}/net/{protocol}", encoding="ascii") as table:
        table.readline()
        for line in table:
            fields = line.split()
            if fields[3] != _LISTENING:
                break  # the kernel lists the listening sockets first, then the connections
            if fields[9] in inodes:
                host, port = fields[1].split(":")
                found.append((_reachable(host), int(port, 16)))
    return found


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
    """Return the address to connect to, for an address that the kernel prints in hexadecimal.

    The kernel prints words of 32 bits in the byte order of the machine. A socket of all addresses
    is reached at 127.0.0.1, also one of IPv6: the registry listens on both with one socket.
    """
    words = [int(host[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(host), 8)]
    packed = b"".join(words)
    if not any(packed):
        return "127.0.0.1"
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


if __name__ == "__main__":
    sys.exit(main())
