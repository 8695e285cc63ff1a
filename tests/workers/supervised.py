"""A program with two workers that serve nobody, each of which behaves as the first argument says.

It works in its current folder, where what happened can be read off the files.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

from registry_server.workers.supervisor import Supervisor, WorkersFailed


def _is_first() -> bool:
    try:
        Path("first").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _serve(channel: socket.socket) -> None:
    """Say ready, begin when told to, end with the channel."""
    channel.sendall(b"!")
    if channel.recv(1):
        Path(f"serving-{os.getpid()}").touch()
    while channel.recv(1):
        pass
    Path(f"drained-{os.getpid()}").touch()


def uneven(channel: socket.socket) -> None:
    """One is ready a second before the other, and notes whether it is told to go before it."""
    if _is_first():
        channel.sendall(b"!")
        channel.recv(1)
        Path("early" if not Path("second").exists() else "together").touch()
    else:
        time.sleep(1)
        Path("second").touch()
        channel.sendall(b"!")
    channel.recv(2)


def broken(channel: socket.socket) -> None:
    """Never ready."""
    sys.exit(3)


def half(channel: socket.socket) -> None:
    """One is ready, the other never."""
    if not _is_first():
        sys.exit(3)
    _serve(channel)


def fragile(channel: socket.socket) -> None:
    """Those that start while a file says so are never ready."""
    if Path("broken").exists():
        sys.exit(4)
    _serve(channel)


def main() -> int:
    """Supervise; exit code 1 when the supervisor gave up."""
    work = {"uneven": uneven, "broken": broken, "half": half, "fragile": fragile}[sys.argv[1]]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            Supervisor(work, listener, 2).run()
        except WorkersFailed as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
