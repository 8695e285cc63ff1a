"""A server process, which may refuse to start: its addresses, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.processes import family, kill_all
from tests.support.servers import PROJECT
from tests.support.tools import require_tool

START_SECONDS = 60.0
STOP_SECONDS = 60.0
END_SECONDS = 10.0
HOSTS = ("127.0.0.1", "::1")


def ours() -> list[str]:
    """Return the command of this project's server."""
    return [sys.executable, "-m", "registry_server", "serve"]


def theirs() -> list[str]:
    """Return the command of Debian's docker-registry."""
    return [require_tool("docker-registry"), "serve"]


def on_readonly(root: Path, command: Sequence[str]) -> list[str]:
    """Return a command that runs another one with a folder mounted read-only."""
    script = 'root="$1"; shift; mount --bind -o ro "$root" "$root" && exec "$@"'
    return [require_tool("unshare"), "--mount", "sh", "-c", script, "sh", str(root), *command]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the tests without variables of registries, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    return {**kept, "PYTHONPATH": str(PROJECT), **more}


class ServerProcess:
    """A started server; it serves, or it has refused and ended."""

    def __init__(
        self, command: Sequence[str], folder: Path, env: Mapping[str, str], port: int | Path
    ) -> None:
        self._port = port
        self._output = folder / "output.log"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._members: list[psutil.Process] = []

    @property
    def output(self) -> str:
        """All output so far."""
        return self._output.read_text(errors="replace")

    def host(self) -> str | None:
        """Wait until it accepts connections, and return the address; None if it has ended."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return None
            if found := self.hosts():
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"neither serves nor ends:\n{self.output[-4000:]}")

    def hosts(self) -> list[str]:
        """Return the loopback addresses at which it accepts connections."""
        return [host for host in HOSTS if _accepts(host, self._port)]

    def addresses(self) -> set[tuple[str, int]]:
        """Return the addresses and ports of its TCP listeners."""
        found: set[tuple[str, int]] = set()
        for member in family(self.process.pid):
            for each in member.net_connections("tcp"):
                if each.status == psutil.CONN_LISTEN:
                    found.add((each.laddr.ip, each.laddr.port))
        return found

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self._members = family(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def left_behind(self) -> list[str]:
        """End its remaining processes; return what they were."""
        members = self._members or family(self.process.pid)
        psutil.wait_procs(members, timeout=END_SECONDS if self._members else 0)
        left = kill_all(members)
        self.process.wait(STOP_SECONDS)
        return left


def _accepts(host: str, port: int | Path) -> bool:
    try:
        if isinstance(port, Path):
            with socket.socket(socket.AF_UNIX) as unix:
                unix.connect(str(port))
            return True
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True
