"""Work that fails at an fsync and is repeated, followed by a power failure."""

from __future__ import annotations

import errno
import itertools
import random
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path

from storage.drivers.filesystem.driver import FilesystemDriver, empty_trash
from storage.errors import Unknown
from storage.repository.registry import StoredRegistry
from tests.storage.file_operations import Operation, watch
from tests.storage.losing_disk import Disk, Recorder
from tests.storage.power_cuts import latest, losses
from tests.storage.promises import Fact, Work


class _Failing:
    """Lets one fsync fail."""

    def __init__(self, number: int) -> None:
        self._left = number

    def before(self, operation: Operation) -> None:
        """Count fsyncs."""
        if operation.kind == "sync":
            self._left -= 1
            if self._left == -1:
                raise OSError(errno.EIO, "as the test wants it")


async def left_by(folder: Path, prepare: Work, work: Work) -> AsyncIterator[tuple[str, Path]]:
    """Yield what is left below a folder, and its explanation.

    Each fsync of `work` fails in turn, after which the same process does `work` once more; its
    target may be missing then.
    """
    for number in itertools.count():
        (folder / "worked").mkdir()
        disk = await _twice(folder / "worked", prepare, work, number)
        shutil.rmtree(folder / "worked")
        if disk is None:
            break
        for left in (*latest(disk), *losses(disk, random.Random(1), samples=2)):
            (folder / "left").mkdir()
            left.tree.put(str(folder / "left"))
            yield f"{left.how}, after fsync {number} failed", folder / "left"
            shutil.rmtree(folder / "left")
    assert number > 0


async def _twice(root: Path, prepare: Work, work: Work, number: int) -> Disk | None:
    """Do the work twice, with the fsync of that number failing; None if there are fewer."""
    recorder, failing = Recorder(root), _Failing(number)
    driver = FilesystemDriver(root, threads=1)
    try:
        registry = StoredRegistry(driver)
        with watch(root, lambda _: None, recorder.after):
            await prepare(registry)
        with watch(root, failing.before, recorder.after):
            try:
                await work(registry)
            except OSError:
                with suppress(Unknown):
                    await work(registry)
            else:
                return None
    finally:
        await driver.close()
    disk = Disk()
    for event in recorder.log:
        disk.apply(event)
    return disk


async def found(root: Path, facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts that a new server answers from a folder."""
    empty_trash(root)
    driver = FilesystemDriver(root, sync=False, threads=1)
    try:
        registry = StoredRegistry(driver)
        return [fact for fact in facts if await fact.ask(registry) is not None]
    finally:
        await driver.close()
