"""Registries as processes on a free port: ours, and Debian's docker-registry as the peer.

Both have one interface, so that a test is proven on the one and held against the other.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self
from urllib.parse import urlencode

import psutil

from tests.support.processes import family, free_port, kill_all
from tests.support.secrets import nothing_told, private_lines, without_told_once
from tests.support.tools import require_tool, run
from tests.support.tree import LAYOUT
from tests.support.wire import OnLoopback, Wire

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 30.0
SETTLE_SECONDS = 5.0


class LiveServer(OnLoopback, ABC):
    """One registry process over one root folder; start, stop, kill and start again.

    `folder` takes the log and the configuration, `root` the images. The port stays the
    same over restarts. `stop` and leaving the context fail on an unclean exit.
    """

    clean_exits: ClassVar[frozenset[int]]

    def __init__(self, folder: Path, root: Path | None = None, port: int | None = None) -> None:
        self.folder = folder
        self.root = root or folder / "root"
        self.port = port or free_port()
        self._log_path = folder / f"{type(self).__name__}-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Return the whole environment of the process."""

    @abstractmethod
    def upload_target(self, name: str, uuid: str) -> str:
        """Return path and query by which this server knows an upload that lies on its disk."""

    @property
    def url(self) -> str:
        """Return the base URL without a final slash."""
        return f"http://{self.address}"

    @property
    def log(self) -> str:
        """Return all that the server printed since it was made, over restarts."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def start(self) -> Self:
        """Start the process and wait until `/v2/` answers."""
        assert self._process is None, "already started"
        with self._log_path.open("ab") as log:
            self._process = self._spawn(log)
        self._wait_until_answering(self._process)
        return self

    def stop(self) -> None:
        """Ask for the end with SIGTERM and fail unless the process ends cleanly by itself."""
        process, members = self._release()
        process.terminate()
        try:
            code = process.wait(STOP_SECONDS)
            # Child processes need a moment to notice that their parent has ended.
            psutil.wait_procs(members, timeout=SETTLE_SECONDS)
        finally:
            survivors = kill_all(members)
            process.wait(STOP_SECONDS)
        assert code in self.clean_exits, f"exit code {code}\n{self.log[-4000:]}"
        assert not survivors, f"left behind: {survivors}\n{self.log[-4000:]}"
        assert "Traceback" not in self.log, self.log[-8000:]
        self._told_nothing()

    def kill(self) -> None:
        """End the process and its workers with SIGKILL, as a power cut would."""
        process, members = self._release()
        kill_all(members)
        process.wait(STOP_SECONDS)
        self._told_nothing()

    def restart(self) -> None:
        """Stop cleanly and start again on the same root and port."""
        self.stop()
        self.start()

    def pids(self) -> list[int]:
        """Return the ids of the process and all its descendants."""
        assert self._process is not None, "not started"
        return [member.pid for member in family(self._process.pid)]

    def bytes_read(self) -> int:
        """Return how many bytes its processes have read since they started, cached or not."""
        return sum(psutil.Process(pid).io_counters().read_chars for pid in self.pids())

    def upload_folder(self, name: str, uuid: str) -> Path:
        """Return where the bytes of an unfinished upload wait."""
        return self.root / LAYOUT / "repositories" / name / "_uploads" / uuid

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        if error is None:
            self.stop()
        else:
            self.kill()

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(self.environment()),
            cwd=self.folder,
            start_new_session=True,
        )

    def _wait_until_answering(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if _answers(self.wire):
                return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"{self.command()} does not answer\n{self.log[-4000:]}")

    def _told_nothing(self) -> None:
        nothing_told(
            without_told_once(self.log), self._log_path.name, private_lines(self.root / "access")
        )

    def _release(self) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
        process = self._process
        assert process is not None, "not started"
        self._process = None
        return process, family(process.pid)


class RegistryServer(LiveServer):
    """This project's server: `python -m registry_server serve`."""

    clean_exits = frozenset({0})

    def __init__(
        self,
        folder: Path,
        root: Path | None = None,
        port: int | None = None,
        *,
        config: str | None = None,
        env: Mapping[str, str] | None = None,
        workers: int = 2,
    ) -> None:
        super().__init__(folder, root, port)
        self._config = config
        self._env = dict(env or {})
        self._workers = workers

    def command(self) -> list[str]:
        """Return the serve command, with the configuration written beside the log."""
        command = [sys.executable, "-m", "registry_server", "serve"]
        if self._config is not None:
            path = self.folder / f"config-{self.port}.yml"
            path.write_text(self._config)
            command.append(str(path))
        options = {"host": "127.0.0.1", "port": self.port, "root": self.root}
        options["workers"] = self._workers
        return command + [
            text for key, value in options.items() for text in (f"--{key}", f"{value}")
        ]

    def upload_target(self, name: str, uuid: str) -> str:
        """Return the upload's path: what lies on disk is all the state there is."""
        return f"/v2/{name}/blobs/uploads/{uuid}"

    def environment(self) -> Mapping[str, str]:
        """Return our environment without REGISTRY_ variables."""
        return {**_clean_environment(), "PYTHONPATH": str(PROJECT), **self._env}


class DistributionServer(LiveServer):
    """CNCF distribution 2.8 as Debian packages it: `docker-registry serve`."""

    # It has no handler for SIGTERM unless a drain timeout is configured.
    clean_exits = frozenset({0, -signal.SIGTERM})
    secret = "a secret that only tests know"

    def command(self) -> list[str]:
        """Return the serve command, with the configuration written beside the log."""
        path = self.folder / f"distribution-{self.port}.yml"
        path.write_text(json.dumps(self._config()))
        return [require_tool("docker-registry"), "serve", str(path)]

    def environment(self) -> Mapping[str, str]:
        """Return our environment without REGISTRY_ variables."""
        return _clean_environment()

    def upload_target(self, name: str, uuid: str) -> str:
        """Return the upload's path with the signed state that distribution keeps at the client.

        The state is a JSON document behind its HMAC-SHA256 under `http.secret`.
        """
        folder = self.upload_folder(name, uuid)
        state = {
            "Name": name,
            "UUID": uuid,
            "Offset": (folder / "data").stat().st_size,
            "StartedAt": (folder / "startedat").read_text(),
        }
        message = json.dumps(state).encode()
        signed = hmac.digest(self.secret.encode(), message, "sha256") + message
        query = urlencode({"_state": base64.urlsafe_b64encode(signed).decode()})
        return f"/v2/{name}/blobs/uploads/{uuid}?{query}"

    def garbage_collect(self) -> None:
        """Run `docker-registry garbage-collect` over the root, which no server may be using."""
        program, _, config = self.command()
        run([program, "garbage-collect", config], env=self.environment())

    def _config(self) -> dict[str, object]:
        return {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.root)},
                "delete": {"enabled": True},
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": {"addr": self.address, "secret": self.secret},
        }


def _clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}


def _answers(wire: Wire) -> bool:
    try:
        # 404 where the registry is below a path.
        return wire.request("GET", "/v2/").status in {200, 401, 404}
    except OSError:
        return False
