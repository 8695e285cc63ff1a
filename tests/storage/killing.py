"""Kills a process at each change of a file in turn, and checks what is left.

    python -m tests.storage.killing SCENARIO FOLDER [FAULT]

It has no threads, so a process for each point is only a fork. Prints a JSON object: `points` is how
often a process was killed, `faults` describes what was wrong. With FAULT the working registry has
that fault, which proves that the oracle detects it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from storage.content import upload_store
from storage.content.boot import this_boot
from storage.content.hashing import best_hashers
from storage.drivers.filesystem import durable, prepared
from storage.drivers.filesystem.driver import FilesystemDriver, empty_trash
from storage.repository.registry import StoredRegistry
from tests.storage.collecting import tidy
from tests.storage.cut_off import SCENARIOS, Scenario, Work, everything
from tests.storage.file_operations import Operation, watch
from tests.storage.ledger import Client, Ledger, assert_kept
from tests.storage.soundness import assert_sound

# A fault that shows at every point would fill the screen.
_ENOUGH = 3


class Experiment:
    """One scenario, in its own folder."""

    def __init__(self, scenario: Scenario, folder: Path, fault: Callable[[], None]) -> None:
        self._scenario = scenario
        self._fault = fault
        self._prepared = folder / "prepared"
        self._root = folder / "root"
        self._before = folder / "promised-before"
        self._during = folder / "promised-during"
        self._at = folder / "killed-at"
        self._report = folder / "report"
        self._prepared.mkdir()
        if _in_child(self._prepare, self._report):
            raise SystemExit(self._report.read_text())
        self._fresh()
        if _in_child(lambda: self._work(-1, torn=False), self._report):
            raise SystemExit(self._report.read_text())
        asyncio.run(_tidy(self._root))
        self._undisturbed = everything(self._root)
        self._promised = Ledger.read(self._before, self._during)

    def run(self) -> tuple[int, list[str]]:
        """Kill at every point; return their number, and the faults."""
        faults: list[str] = []
        points = 0
        for torn in self._points():
            points += 1
            if _in_child(self._examine, self._report):
                half = ", half of it done" if torn else ""
                faults.append(f"killed at {self._at.read_text()}{half}\n{self._report.read_text()}")
                if len(faults) == _ENOUGH:
                    break
        return points, faults

    def _points(self) -> Iterator[bool]:
        """Leave a root as each kill leaves it, and last as the whole work does.

        Yields whether the process was killed in the middle of a write.
        """
        for at in itertools.count():
            if not self._killed(at, torn=False):
                yield False
                return
            yield False
            if " write " in self._at.read_text():
                self._killed(at, torn=True)
                yield True

    def _killed(self, at: int, *, torn: bool) -> bool:
        """Do the work and kill it before change `at`, or in the middle of it."""
        self._fresh()
        status = _in_child(lambda: self._work(at, torn=torn), self._report)
        if status and os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(self._report.read_text())
        return bool(status)

    def _fresh(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.copytree(self._prepared, self._root, copy_function=shutil.copyfile)
        self._during.write_text("")
        self._at.write_text("no change at all")

    def _prepare(self) -> None:
        asyncio.run(
            _ask(self._prepared, Ledger(_line_by_line(self._before)), self._scenario.prepare)
        )

    def _work(self, at: int, *, torn: bool) -> None:
        self._fault()
        ledger = Ledger.read(self._before)
        ledger.write_to(_line_by_line(self._during))

        numbers = itertools.count()

        def before(operation: Operation) -> None:
            # A kill before an fsync looks to other processes like one before the next change.
            if operation.kind != "sync" and next(numbers) == at:
                self._at.write_text(str(operation))
                if torn:
                    half = operation.data[: len(operation.data) // 2]
                    os.pwrite(operation.fd, half, operation.offset)
                os.kill(os.getpid(), signal.SIGKILL)

        with watch(self._root, before):
            asyncio.run(_ask(self._root, ledger, self._scenario.work))

    def _examine(self) -> None:
        """Start like a server, check all promises, do the work again, and clean up."""
        empty_trash(self._root)
        asyncio.run(self._hold())
        # All files are the same, temporary ones included.
        asyncio.run(_tidy(self._root))
        assert everything(self._root) == self._undisturbed

    async def _hold(self) -> None:
        driver = FilesystemDriver(self._root, threads=2)
        registry = StoredRegistry(driver)
        ledger = Ledger.read(self._before, self._during)
        try:
            await assert_sound(driver)
            await assert_kept(registry, ledger)
            await self._scenario.again(Client(registry, ledger))
            await assert_kept(registry, self._promised.without("upload"))
        finally:
            await driver.close()


async def _tidy(root: Path) -> None:
    driver = FilesystemDriver(root, threads=2)
    try:
        await tidy(driver)
    finally:
        await driver.close()


async def _ask(root: Path, ledger: Ledger, work: Work) -> None:
    driver = FilesystemDriver(root, threads=2)
    try:
        await work(Client(StoredRegistry(driver), ledger))
    finally:
        await driver.close()


def _line_by_line(file: Path) -> Callable[[str], object]:
    """Return a function that appends a line, which other processes see when it returns."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return lambda line: os.write(fd, line.encode())


def _in_child(work: Callable[[], None], report: Path) -> int:
    """Do `work` in a child process; return its status, as `waitpid` does."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            report.write_text(traceback.format_exc())
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def _links_first() -> None:
    """Carry out steps in the wrong order: links before their targets."""
    publish = durable.Disk.publish

    def backwards(disk: durable.Disk, steps: Sequence[Any], *more: Any, **named: Any) -> list[str]:
        return publish(disk, steps[::-1], *more, **named)

    durable.Disk.publish = backwards  # type: ignore[method-assign, assignment]


def _in_place() -> None:
    """Write to the final path instead of a temporary one."""

    def write(file: prepared.PreparedFile) -> None:
        file._source = file.target
        file._fd = os.open(file.target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.pwrite(file._fd, file._content, 0)

    prepared.PreparedFile.write = write  # type: ignore[method-assign, assignment]


def _promised_early() -> None:
    """Answer before the last step is done."""
    publish = durable.Disk.publish

    def shortened(disk: durable.Disk, steps: Sequence[Any], *more: Any, **named: Any) -> list[str]:
        return publish(disk, steps[:-1], *more, **named)

    durable.Disk.publish = shortened  # type: ignore[method-assign, assignment]


def _removed_first() -> None:
    """Remove what is replaced before the new content is written."""

    def show(file: prepared.PreparedFile) -> bool:
        if os.path.exists(file.target):
            os.unlink(file.target)
        os.rename(file._source, file.target)
        file._source = ""
        return True

    prepared.PreparedFile.show = show  # type: ignore[method-assign, assignment]


FAULTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "links first": _links_first,
    "in place": _in_place,
    "promised early": _promised_early,
    "removed first": _removed_first,
}


def main(name: str, folder: str, fault: str = "none") -> None:
    """Run one scenario."""
    # A killed process loses nothing that it wrote, synced or not.
    os.fsync = lambda fd: None
    upload_store.WORTH_A_STATE = 1
    best_hashers()
    this_boot()
    points, faults = Experiment(SCENARIOS[name], Path(folder), FAULTS[fault]).run()
    print(json.dumps({"points": points, "faults": faults}))


if __name__ == "__main__":
    main(*sys.argv[1:])
