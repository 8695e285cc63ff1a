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

from registry_server.serving.workers import last_resort, pulse, supervisor
from registry_server.serving.workers.pulse import Pulse
from registry_server.serving.workers.reload import Reload
from registry_server.serving.workers.supervisor import Supervisor, WorkersFailed
from registry_server.serving.workers.work import Work


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
    """Writes a file for each milestone of the supervisor."""

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


def work(how: str | None) -> Work | None:
    """Return work by its name; it drains for a second and beats as long as no file says otherwise.

    A thread beats: what hangs in these tests is not an event loop.
    """
    if how is None:
        return None

    def serve(channel: socket.socket, beats: Pulse) -> None:
        threading.Thread(target=_beat, args=(beats,), daemon=True).start()
        WORK[how](channel)

    return Work(serve, drain_seconds=1)


def _beat(beats: Pulse) -> None:
    while not Path(f"silent-{os.getpid()}").exists():
        beats.beat()
        time.sleep(0.05)


def _shorten() -> None:
    """Take the limits from the environment."""
    pulse.HUNG_SECONDS = float(os.environ.get("HUNG_SECONDS", "60"))
    last_resort.SECONDS = float(os.environ.get("LAST_RESORT_SECONDS", "30"))
    for name in ("MARGIN_SECONDS", "HURRY_SECONDS", "LAST_SECONDS"):
        setattr(supervisor, name, float(os.environ.get(name, "5")))


def main() -> int:
    """Supervise; exit code 1 when the supervisor gave up."""
    logging.basicConfig(level=logging.INFO)
    _shorten()
    first = work(sys.argv[1])
    assert first is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        try:
            Supervisor(first, [listener], 2, Reload(read, work), Told()).run()
        except WorkersFailed as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
