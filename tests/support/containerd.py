"""A containerd of the tests' own, driven by its `ctr`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tests.support.processes import Daemon
from tests.support.tools import require_root, require_tool, run

# No Kubernetes side, and no /opt/containerd.
_CONFIG = """version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
"""


class Containerd:
    """containerd over one folder; call it with the arguments of a `ctr` command."""

    def __init__(self, folder: Path) -> None:
        require_root()
        self._daemon = require_tool("containerd")
        self._client = require_tool("ctr")
        self._folder = folder
        self.socket = folder / "sock"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(_CONFIG.format(folder=folder))
        log = folder / "containerd.log"
        self._process = Daemon(self._command(), log, b"containerd successfully booted")

    def __call__(self, *arguments: str) -> str:
        """Run `ctr ARGUMENTS` and return its output without surrounding space."""
        return run([self._client, f"--address={self.socket}", *arguments]).strip()

    def start(self) -> Self:
        """Start the daemon and wait until it answers."""
        self._process.start()
        return self

    def stop(self) -> None:
        """Stop the daemon and its remaining processes."""
        self._process.stop()

    def _command(self) -> list[str]:
        return [
            self._daemon,
            f"--config={self._folder}/config.toml",
            f"--root={self._folder}/root",
            f"--state={self._folder}/state",
            f"--address={self.socket}",
        ]
