"""A Docker Engine of the tests' own: a daemon over one folder, without network set-up."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.support.containerd import Containerd
from tests.support.machine import Machine
from tests.support.processes import Daemon, unmount_below
from tests.support.tools import require_root, require_tool, run


class DockerEngine:
    """dockerd; call it with the arguments of a `docker` command.

    It runs on a `machine` if there is one, and takes any certificate or none of those `insecure`.
    It stores images by `driver`, which is a folder for each layer; None has it choose what is fast.
    """

    def __init__(
        self,
        folder: Path,
        machine: Machine | None = None,
        insecure: Sequence[str] = (),
        driver: str | None = "vfs",
    ) -> None:
        require_root()
        require_tool("runc")
        require_tool("iptables")
        self._daemon = require_tool("dockerd")
        self._client = require_tool("docker")
        self._folder = folder
        self._driver = driver
        self._config = folder / "client"
        self._config.mkdir(parents=True)
        settings = {"deprecated-key-path": f"{folder}/key.json"}
        (folder / "daemon.json").write_text(json.dumps(settings))
        # One started by dockerd itself would write outside the folder, to /opt/containerd.
        self._containerd = Containerd(folder / "containerd")
        command = [*self._command(), *(f"--insecure-registry={each}" for each in insecure)]
        command = command if machine is None else machine.inside(*command)
        self._process = Daemon(command, folder / "dockerd.log", b"API listen on")

    def __call__(
        self, *arguments: str, timeout: float = 120, env: Mapping[str, str] | None = None
    ) -> str:
        """Run `docker ARGUMENTS` and return its output without surrounding space."""
        environment = {**self.environment, **(env or {})}
        return run([self._client, *arguments], env=environment, timeout=timeout).strip()

    def configured(self, folder: Path) -> Self:
        """Return the same engine, with a client that keeps its logins in `folder`."""
        other = copy.copy(self)
        other._config = folder
        return other

    def image_id(self, reference: str) -> str:
        """Return the sha256 of the image's configuration."""
        return self("image", "inspect", "--format", "{{.Id}}", reference)

    def start(self) -> Self:
        """Start the daemon and wait until it answers."""
        self._containerd.start()
        self._process.start()
        return self

    def stop(self) -> None:
        """Stop the daemon and its containerd, and unmount what it mounted.

        Where mounts are not shared the daemon mounts its data folder onto itself, and inside
        a chroot or on a bind mount it does not recognise that mount when it ends.
        """
        self._process.stop()
        self._containerd.stop()
        unmount_below(self._folder)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which a `docker` command finds this engine."""
        return {
            "DOCKER_HOST": f"unix://{self._folder}/sock",
            "DOCKER_CONFIG": str(self._config),
            # BuildKit would ask for the network; the classic builder is enough for FROM scratch.
            "DOCKER_BUILDKIT": "0",
        }

    def _command(self) -> list[str]:
        settings = {
            "config-file": "daemon.json",
            "data-root": "data",
            "exec-root": "exec",
            "pidfile": "pid",
        }
        return [
            self._daemon,
            *(f"--{option}={self._folder / name}" for option, name in settings.items()),
            f"--containerd={self._containerd.socket}",
            f"--host=unix://{self._folder}/sock",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            *([f"--storage-driver={self._driver}"] if self._driver else []),
        ]
