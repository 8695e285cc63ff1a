"""A container of the image that serves on a free port of this machine."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.engine import DockerEngine
from tests.support.processes import free_port
from tests.support.tools import require_tool
from tests.support.wire import OnLoopback

IMAGE = "registry-server"
VOLUME = "/var/lib/registry"
START_SECONDS = 40.0


class Container(OnLoopback):
    """`docker run OPTIONS IMAGE COMMAND`, on the machine's network; the context starts it.

    Leaving the context asserts that `docker stop` ends it with exit code 0: Docker kills after ten
    seconds what has not ended by then.
    """

    def __init__(
        self,
        docker: DockerEngine,
        root: Path,
        options: tuple[str, ...] = (),
        command: tuple[str, ...] = (),
        port: int | None = None,
    ) -> None:
        self.docker = docker
        self.port = port or free_port()
        self._options = (f"--volume={root}:{VOLUME}", *options)
        self._command = command
        self.id = ""

    def adopt(self, container: str) -> Self:
        """Take over a container that was started otherwise, to be stopped and removed."""
        self.id = container
        return self

    def __enter__(self) -> Self:
        if self.id:
            return self
        given = f"REGISTRY_HTTP_ADDR={self.address}"
        options = ("--detach", "--network=host", f"--env={given}", *self._options)
        self.id = self.docker("run", *options, IMAGE, *self._command)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logs = self.logs()
        self.docker("stop", self.id)
        code = self.docker("inspect", "--format={{.State.ExitCode}}", self.id)
        self.docker("rm", "--volumes", self.id)
        if error is not None:
            error.add_note(logs[-4000:])
            return
        assert code == "0", f"exit code {code}\n{logs[-4000:]}"
        assert "Traceback" not in logs, logs[-4000:]

    def wait_until_answering(self) -> Self:
        """Return when `/v2/` answers over plain HTTP."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                self.wire.request("GET", "/v2/")
            except OSError:
                time.sleep(0.1)
            else:
                return self
        raise AssertionError(f"does not answer:\n{self.logs()[-4000:]}")

    def exec(self, *command: str, options: tuple[str, ...] = ()) -> str:
        """Run a command in the container and return what it prints on standard output."""
        return self.docker("exec", *options, self.id, *command)

    def logs(self) -> str:
        """Return all that was printed."""
        command = [require_tool("docker"), "logs", self.id]
        done = subprocess.run(
            command,
            env=self.docker.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.stdout

    def health(self) -> str:
        """Return the state by which Docker knows its health."""
        return self.docker("inspect", "--format={{.State.Health.Status}}", self.id)

    def wait_until_health_is(self, state: str) -> None:
        """Return when Docker says `healthy`, or whatever `state` is."""
        deadline = time.monotonic() + START_SECONDS
        while self.health() != state:
            if time.monotonic() > deadline:
                said = self.docker("inspect", "--format={{json .State.Health}}", self.id)
                raise AssertionError(f"not {state}: {said}\n{self.logs()[-4000:]}")
            time.sleep(0.2)
