"""A program with two workers without clients, each of which behaves as the first argument says.

It works in its current folder, where what happened can be read off the files.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from registry_server.serving.workers import generation, heartbeat, shutdown, watchdog
from registry_server.serving.workers.heartbeat import Heartbeat
from registry_server.serving.workers.reload_process import ReloadProcess
from registry_server.serving.workers.supervisor import Supervisor, WorkersFailed
from registry_server.serving.workers.worker_process import WorkerSpec


def _is_first() -> bool:
    try:
        Path("first").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _serve(channel: socket.socket) -> None:
    """Report ready, serve when told to, end with the channel."""
    channel.sendall(b"!")
    Path(f"ready-{os.getpid()}").touch()
    if channel.recv(1):
        Path(f"serving-{os.getpid()}").touch()
    while channel.recv(1):
        pass
    Path(f"drained-{os.getpid()}").touch()


def uneven(channel: socket.socket) -> None:
    """Let one be ready a second early, and record whether it may serve before the other."""
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
    """Exit without ever being ready."""
    sys.exit(3)


def half(channel: socket.socket) -> None:
    """Let one be ready, and the other never."""
    if not _is_first():
        sys.exit(3)
    _serve(channel)


def fragile(channel: socket.socket) -> None:
    """Exit without being ready while the file `broken` exists."""
    if Path("broken").exists():
        sys.exit(4)
    _serve(channel)


def unlucky(channel: socket.socket) -> None:
    """Serve; but the first to find the file `victim` waits for `let-go`, then fails."""
    try:
        Path("victim").unlink()
    except FileNotFoundError:
        _serve(channel)
        return
    while not Path("let-go").exists():
        time.sleep(0.02)
    sys.exit(4)


def read() -> str | None:
    """Return the work after SIGHUP; None, for no change, while the file `refused` exists."""
    if Path("mistaken").exists():
        raise RuntimeError("an internal error")
    while Path("hanging").exists():
        time.sleep(0.02)
    refused = Path("refused").exists()
    Path(f"read-{os.getpid()}").touch()
    return None if refused else sys.argv[1]


class Told:
    """Writes a file for each event that the supervisor reports."""

    def opened(self) -> None:
        """All workers serve."""
        Path("told-opened").touch(exist_ok=False)

    def stopping(self, received: signal.Signals) -> None:
        """The drain begins."""
        Path(f"told-stopping-{received.name}").touch(exist_ok=False)


WORK: dict[str, Callable[[socket.socket], None]] = {
    "uneven": uneven,
    "broken": broken,
    "half": half,
    "fragile": fragile,
    "unlucky": unlucky,
}


def spec(how: str | None) -> WorkerSpec | None:
    """Return the work of a name; it drains for a second, and a file ends its heartbeat.

    A thread beats: what hangs in these tests is not an event loop.
    """
    if how is None:
        return None

    def serve(channel: socket.socket, heartbeat: Heartbeat) -> None:
        threading.Thread(target=_beat, args=(heartbeat,), daemon=True).start()
        WORK[how](channel)

    return WorkerSpec(serve, drain_seconds=1)


def _beat(heartbeat: Heartbeat) -> None:
    while not Path(f"silent-{os.getpid()}").exists():
        heartbeat.beat()
        time.sleep(0.05)


def _shorten() -> None:
    """Take the limits from the environment."""
    heartbeat.HUNG_SECONDS = float(os.environ.get("HUNG_SECONDS", "60"))
    watchdog.SECONDS = float(os.environ.get("WATCHDOG_SECONDS", "30"))
    generation.MARGIN_SECONDS = float(os.environ.get("MARGIN_SECONDS", "5"))
    shutdown.HURRY_SECONDS = float(os.environ.get("HURRY_SECONDS", "5"))
    shutdown.LAST_SECONDS = float(os.environ.get("LAST_SECONDS", "5"))


def main() -> int:
    """Supervise; exit code 1 when the supervisor gave up."""
    logging.basicConfig(level=logging.INFO)
    _shorten()
    first = spec(sys.argv[1])
    assert first is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            Supervisor(first, [listener], 2, ReloadProcess(read, spec), Told()).run()
        except WorkersFailed as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
