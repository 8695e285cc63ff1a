"""How collecting, scrubbing and `du` grow with the number of blobs: time, CPU and memory.

Each runs as its command over a tree that `crowd` writes, in many repositories and then in one. A
collection has to remove a tenth more blobs. That of another `registry` is measured first, over the
same tree.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import crowd, proc, room, servers
from benchmarks.errors import NotReady, expect
from benchmarks.interruption import held_back
from benchmarks.processes import PROJECT, environment
from benchmarks.stage import MB
from benchmarks.table import aligned, number

NAME = "maintenance"
SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000,)
MANY = "many repositories"
ONE = "one repository"
SAMPLE_SECONDS = 0.05
# Ours keeps what is younger than a second, whatever the grace period.
OLD_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Program:
    """A registry's command line, without a subcommand, and what its `garbage-collect` needs."""

    name: str
    command: Sequence[str]
    collecting: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """A root folder with so many referenced blobs, in `MANY` or in `ONE`."""

    root: Path
    blobs: int
    shape: str


@dataclass(frozen=True, slots=True)
class Run:
    """One command over a tree of `blobs`: seconds, CPU seconds, and peak memory in bytes."""

    shape: str
    task: str
    program: str
    blobs: int
    seconds: float
    cpu: float
    peak: int


def ours() -> Program:
    """Return this project's command."""
    command = (sys.executable, "-m", "registry_server")
    return Program("registry-server", command, ("--grace", "0s"))


def peer(file: str) -> Program:
    """Return a `registry` binary, by its path or name; raise `NotReady` where there is none."""
    found = shutil.which(file)
    if found is None:
        raise NotReady(f"there is no program {file}")
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    return Program(f"{Path(found).name} {said.split()[-1]}", (found,))


def measure(theirs: Program, folder: Path, sizes: Sequence[int]) -> Iterator[Run]:
    """Yield what each command takes, the smallest tree first.

    Raises `NotReady` if the folder has no room for all trees, and `WrongAnswer` if a command fails
    or a collection leaves unreferenced blobs.
    """
    room.require(folder, sizes)
    # No tree is removed before the last is written: for some minutes ext4 looks at each inode that
    # was freed before it takes another (54 to 62 s of system time for 100,000 blobs, not 14).
    with ExitStack() as trees:
        for blobs in sorted(set(sizes)):
            root = trees.enter_context(_written(folder, blobs))
            yield from _every_command(theirs, Tree(root, blobs, MANY))
            crowd.gather(root)
            yield from _every_command(theirs, Tree(root, blobs, ONE))


def text(runs: Sequence[Run]) -> str:
    """Return a table; a constant CPU per blob means that the cost grows as the blobs do."""
    head = ["tree", "command", "program", "blobs"]
    head += ["s", "CPU, s", "CPU per blob, us", "peak memory, MB"]
    rows = [
        [
            run.shape,
            run.task,
            run.program,
            f"{run.blobs:,}",
            number(run.seconds),
            number(run.cpu),
            number(run.cpu / run.blobs * 1e6),
            number(run.peak / MB),
        ]
        for run in _by_command(runs)
    ]
    return aligned([head, *rows], left=3)


def _by_command(runs: Sequence[Run]) -> list[Run]:
    """Bring what grows into lines below each other; the rest stays in order."""
    groups = list(dict.fromkeys((run.shape, run.task) for run in runs))
    return sorted(runs, key=lambda run: groups.index((run.shape, run.task)))


@contextmanager
def _written(folder: Path, blobs: int) -> Iterator[Path]:
    root = folder / f"root-{NAME}-{blobs}"
    crowd.populate(root, blobs)
    try:
        yield root
    finally:
        with held_back():
            shutil.rmtree(root)


def _every_command(theirs: Program, tree: Tree) -> Iterator[Run]:
    for program in (theirs, ours()):
        yield _collection(program, tree)
    for task in ("scrub", "du"):
        yield _run(ours(), task, (), tree)


def _collection(program: Program, tree: Tree) -> Run:
    crowd.litter(tree.root, tree.blobs)
    time.sleep(OLD_SECONDS)
    run = _run(program, "garbage-collect", program.collecting, tree)
    left = crowd.is_littered(tree.root, tree.blobs)
    expect(not left, f"{program.name} left unreferenced blobs")
    return run


def _run(program: Program, task: str, flags: Sequence[str], tree: Tree) -> Run:
    folder = tree.root.parent
    config, log = folder / "maintenance.yml", folder / "maintenance.log"
    config.write_text(servers.CONFIG.format(root=tree.root, port=0))
    command = [*program.command, task, str(config), *flags]
    start = time.perf_counter()
    with log.open("wb") as output, _running(command, output.fileno()) as process:
        peak, usage = _watched(process)
    seconds = time.perf_counter() - start
    said = log.read_text(errors="replace").strip().rpartition("\n")[2]
    expect(not process.returncode, f"{program.name} {task} failed: {said}")
    return Run(tree.shape, task, program.name, tree.blobs, seconds, usage, peak)


@contextmanager
def _running(command: Sequence[str], errors: int) -> Iterator[subprocess.Popen[bytes]]:
    with held_back():
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _watched(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Wait for a process; return its peak memory in bytes, and the CPU seconds it used."""
    peak = 0
    before = os.times()
    while process.poll() is None:
        with suppress(OSError, KeyError):  # it has ended
            peak = proc.peak(process.pid)
        time.sleep(SAMPLE_SECONDS)
    after = os.times()
    used = after.children_user - before.children_user
    return peak, used + after.children_system - before.children_system
