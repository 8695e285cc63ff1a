"""Collections back to back, in processes that are killed now and then."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.live.programs import environment
from tests.race.history import History, short
from tests.support.processes import family, kill_all
from tests.support.servers import PROJECT

_PROGRAM = "tests.race.collector"
_STOP_SECONDS = 30.0


class Collectors(threading.Thread):
    """Keeps one collector running, sometimes two, of which one is refused, until stopped.

    Each lives for some seconds. `read_notes` adds what they did to the history.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        grace: float,
        rng: random.Random,
        *,
        untagged: bool,
        faults: Sequence[str] = (),
    ) -> None:
        super().__init__(name="collectors")
        self._root = root
        self._notes = folder / "notes"
        self._log = folder / "collector.log"
        self._grace = grace
        self._rng = rng
        self._untagged = untagged
        self._faults = faults
        self._ended = threading.Event()
        self.killed = 0
        self.commands = 0

    def stop(self) -> None:
        """Start no new one, and end the running one."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Run one after the other."""
        while not self._ended.is_set():
            running = self._start()
            try:
                self._ended.wait(self._rng.uniform(1, 4))
                if self._rng.random() < 0.3 and not self._faults and not self._ended.is_set():
                    self._run_command()
            finally:
                members = family(running.pid)
                is_killed = self._rng.random() < 0.7
                running.send_signal(signal.SIGKILL if is_killed else signal.SIGINT)
                self.killed += is_killed
                _await(running)
                kill_all(members)

    def _start(self) -> subprocess.Popen[bytes]:
        told = [self._root, self._notes, self._grace, self._rng.random()]
        told.append("often" if self._untagged else "never")
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", _PROGRAM, *map(str, told), *self._faults],
                cwd=PROJECT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _run_command(self) -> None:
        """Collect with the command, which is refused while another collection runs."""
        self.commands += 1
        ended = collect(self._root, self._grace, untagged=self._untagged)
        with self._log.open("ab") as log:
            log.write(ended.stdout + ended.stderr)

    def read_notes(self, history: History) -> None:
        """Add what the collectors did, and their failures, to the history."""
        lines = self._notes.read_bytes().splitlines() if self._notes.exists() else []
        for line in lines:
            note = json.loads(line)
            kind, began = note.pop("kind"), note.pop("began")
            history.count(f"collections {kind}")
            for fact in ("manifests", "links", "blobs", "size", "spared", "leftovers"):
                history.count(f"collected {fact}", note.get(fact, 0))
            ended = note.pop("until", note.pop("ended"))
            for path in note.get("paths", ()):
                history.note(began, "collector", f"removes {_legible(path)}", ended)
            if note.get("trouble"):
                history.wrong("collector", f"met with {note['trouble']}", [])

    @property
    def log(self) -> str:
        """Everything that the collectors printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def collect(root: Path, grace: float, *, untagged: bool) -> subprocess.CompletedProcess[bytes]:
    """Collect once with the command of the registry."""
    options = ["--delete-untagged"] if untagged else []
    return subprocess.run(
        [sys.executable, "-m", "registry_server", "garbage-collect", "--root", root, *options],
        cwd=root,
        env=environment(grace_variable(grace)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )


def grace_variable(grace: float) -> dict[str, str]:
    """Return the environment variable that sets the grace period."""
    milliseconds = f"{round(grace * 1000)}ms"
    return {"REGISTRY_STORAGE_MAINTENANCE_GARBAGECOLLECTION_GRACE": milliseconds}


def _await(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_SECONDS)


def _legible(path: str) -> str:
    """Return a removed file in the form used by reports."""
    parts = [part for part in path.split("/") if part not in {"docker", "registry", "v2", "data"}]
    found = [short(f"sha256:{part}") if len(part) == 64 else part for part in parts]
    return "/".join(part for part in found if part != "sha256")
