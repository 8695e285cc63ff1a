"""How garbage collection, scrub and `du` grow with the number of blobs: time, CPU and memory.

Each command runs on a tree that `crowd` writes, first with many repositories, then with one. A
collection removes a tenth more blobs. Another registry's collection is measured first, on the same
tree.
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
# Our collection keeps blobs younger than a second, whatever the grace period.
OLD_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Program:
    """A registry's command line without subcommand, and the options of its `garbage-collect`."""

    name: str
    command: Sequence[str]
    collecting: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """A root folder with `blobs` referenced blobs, in `MANY` or in `ONE`."""

    root: Path
    blobs: int
    shape: str


@dataclass(frozen=True, slots=True)
class Run:
    """One command on a tree of `blobs`: seconds, CPU seconds, and peak memory in bytes."""

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
    """Return a `registry` binary by its path or name; raise `NotReady` if it is missing."""
    program = shutil.which(file)
    if program is None:
        raise NotReady(f"the program {file} does not exist")
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return Program(f"{Path(program).name} {said.split()[-1]}", (program,))


def measure(theirs: Program, folder: Path, sizes: Sequence[int]) -> Iterator[Run]:
    """Yield the cost of each command, the smallest tree first.

    Raises `NotReady` if the folder has no room for all trees, and `WrongAnswer` if a command fails
    or a collection leaves unreferenced blobs.
    """
    room.require(folder, sizes)
    # No tree is removed before the last is written: for some minutes ext4 examines every freed
    # inode before it allocates one (54 to 62 s of system time for 100,000 blobs instead of 14).
    with ExitStack() as trees:
        for blobs in sorted(set(sizes)):
            root = trees.enter_context(_written(folder, blobs))
            yield from _every_command(theirs, Tree(root, blobs, MANY))
            crowd.gather(root)
            yield from _every_command(theirs, Tree(root, blobs, ONE))


def text(runs: Sequence[Run]) -> str:
    """Return a table; a constant CPU per blob means that the cost is linear."""
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
    """Sort the runs of the same command next to each other; the rest stays in order."""
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
        with suppress(OSError, KeyError):  # it has exited
            peak = proc.peak(process.pid)
        time.sleep(SAMPLE_SECONDS)
    after = os.times()
    used = after.children_user - before.children_user
    return peak, used + after.children_system - before.children_system
