"""The command line as a process: run to its end, or served until a test is done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.live.transfers import until
from tests.support.machine import Machine
from tests.support.processes import family, kill_all
from tests.support.secrets import nothing_told
from tests.support.servers import PROJECT

COMMAND = [sys.executable, "-m", "registry_server"]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without REGISTRY_ variables."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
    return {**kept, "PYTHONPATH": str(PROJECT), "COLUMNS": "200", **(more or {})}


def run_program(
    words: Sequence[str | Path], folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that ends by itself, in `folder`, without standard input."""
    return subprocess.run(
        words,
        cwd=folder,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def run(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself, in `folder`; fail if it prints a secret unasked."""
    done = run_program([*COMMAND, *arguments], folder, env)
    is_asked = list(arguments[:2]) == ["robots", "create"]
    nothing_told(done.stderr if is_asked else done.stdout + done.stderr, arguments)
    return done


@dataclass(frozen=True, slots=True)
class Serving:
    """A server started by its command line, whose standard error goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    @property
    def where(self) -> str:
        """The first address it listens on."""
        match = re.search(r"listening on ([^\s\",]+)", self.said)
        assert match, self.said
        return match[1]


@contextmanager
def serving(
    arguments: Sequence[str],
    folder: Path,
    env: Mapping[str, str] | None = None,
    machine: Machine | None = None,
) -> Iterator[Serving]:
    """Serve until the block ends, then stop; fail unless it stops cleanly and leaves no process.

    It is done on a `machine`, in its root folder, if there is one.
    """
    command = [*COMMAND, "serve", *arguments]
    log = folder / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command if machine is None else machine.inside(*command),
            cwd=folder,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    made = Serving(process, log)
    members: list[psutil.Process] = []
    try:
        until(lambda: process.poll() is not None or "listening on" in made.said, "it serves")
        yield made
        members = family(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, made.said
        psutil.wait_procs(members, timeout=5)
        assert not [one for one in members if one.is_running()], made.said
        assert "Traceback" not in made.said, made.said
    finally:
        kill_all(members or family(process.pid))
        process.wait(30)
