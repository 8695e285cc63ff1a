"""A program with two workers that serve nobody, each of which behaves as the first argument says.

It works in its current folder, where what happened can be read off the files.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path

from registry_server.workers.supervisor import Supervisor, Work, WorkersFailed


def _is_first() -> bool:
    try:
        Path("first").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _serve(channel: socket.socket) -> None:
    """Say ready, begin when told to, end with the channel."""
    channel.sendall(b"!")
    Path(f"ready-{os.getpid()}").touch()
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


def unlucky(channel: socket.socket) -> None:
    """The first that finds a file that says so is never ready; it fails when it is let go."""
    try:
        Path("victim").unlink()
    except FileNotFoundError:
        _serve(channel)
        return
    while not Path("let-go").exists():
        time.sleep(0.02)
    sys.exit(4)


def renewed() -> Work | None:
    """Say what workers are to do after SIGHUP, which is nothing new if a file says so."""
    if Path("mistaken").exists():
        raise RuntimeError("a mistake of ours")
    return None if Path("refused").exists() else WORK[sys.argv[1]]


class Told:
    """Writes a file for each milestone of the supervisor."""

    def opened(self) -> None:
        """All workers serve."""
        Path("told-opened").touch(exist_ok=False)

    def stopping(self, received: signal.Signals) -> None:
        """The drain begins."""
        Path(f"told-stopping-{received.name}").touch(exist_ok=False)


WORK: dict[str, Work] = {
    "uneven": uneven,
    "broken": broken,
    "half": half,
    "fragile": fragile,
    "unlucky": unlucky,
}


def main() -> int:
    """Supervise; exit code 1 when the supervisor gave up."""
    logging.basicConfig(level=logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            Supervisor(WORK[sys.argv[1]], [listener], 2, renewed, Told()).run()
        except WorkersFailed as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
