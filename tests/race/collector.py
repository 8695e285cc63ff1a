"""A collector process: collects a root repeatedly until it is ended or killed.

    python -m tests.race.collector ROOT NOTES GRACE SEED UNTAGGED [FAULT]

It appends what it does to the file NOTES, a JSON object per line with times of `time.monotonic`,
which all processes share. It waits at random between the steps of a collection, so that every gap
between them is open for long enough. UNTAGGED is `never` or `often`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from storage.drivers.base import ExclusiveEditor
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import AlreadyRunning
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from tests.race.faults import FAULTS

T = TypeVar("T")


class Notes:
    """Appends lines to a file, each in one write."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def add(self, kind: str, began: float, **facts: object) -> None:
        """Append a line."""
        line = {"kind": kind, "began": began, "ended": time.monotonic(), **facts}
        os.write(self._fd, json.dumps(line).encode() + b"\n")


class ToldEditor:
    """Removes as `inner` does, and records what."""

    def __init__(self, inner: ExclusiveEditor) -> None:
        self._inner = inner
        self.removed: list[str] = []
        self.names = inner.names
        self.folders = inner.folders
        self.entries = inner.entries
        self.entry = inner.entry
        self.read = inner.read
        self.stat = inner.stat
        self.modified = inner.modified
        self.link_target = inner.link_target
        self.remove_empty = inner.remove_empty
        self.move = inner.move

    def remove(self, path: str) -> bool:
        """Remove and record."""
        was_there = self._inner.remove(path)
        if was_there:
            self.removed.append(path)
        return was_there


class ToldDriver(FilesystemDriver):
    """Records all removals under the exclusive lock, and sometimes waits."""

    def __init__(self, root: Path, notes: Notes, rng: random.Random) -> None:
        super().__init__(root, threads=2)
        self._notes = notes
        self._rng = rng

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        """Run `job` as a driver does, after a delay."""
        await asyncio.sleep(self._rng.random() ** 4 * 0.2)
        removed: list[str] = []
        times: list[float] = []

        def told(editor: ExclusiveEditor) -> T:
            times.append(time.monotonic())
            teller = ToldEditor(editor)
            try:
                return job(teller)
            finally:
                times.append(time.monotonic())
                removed.extend(teller.removed)

        try:
            return await super().exclusively(told)
        finally:
            if removed:
                self._notes.add("removed", times[0], until=times[1], paths=removed)


class Dawdling:
    """Sometimes sleeps when progress is reported; nothing else runs in this process."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def step(self, phase: str, done: int, total: int | None) -> None:
        """Sometimes sleep for some hundredths of a second."""
        if self._rng.random() < 0.02:
            time.sleep(self._rng.uniform(0, 0.05))


async def _collect(driver: ToldDriver, notes: Notes, options: Options, rng: random.Random) -> None:
    began = time.monotonic()
    async with planned(driver, options, Dawdling(rng)) as plan:
        notes.add("planned", began, untagged=options.delete_untagged)
        await asyncio.sleep(rng.choice([0.0, 0.0, rng.uniform(0, 0.4), options.grace]))
        swept = await carry_out(driver, plan, Dawdling(rng))
        unreadable = await driver.batch(lambda _: list(plan.database.marks.unreadable()))
        trouble = [*map(str, plan.coverage.trouble), *map(str, unreadable), *swept.failed]
    notes.add(
        "swept",
        began,
        untagged=options.delete_untagged,
        manifests=swept.manifests,
        links=swept.links,
        blobs=swept.blobs,
        size=swept.size,
        spared=swept.spared,
        leftovers=swept.leftovers,
        trouble=trouble,
    )


async def _collect_repeatedly(
    root: Path, notes: Notes, grace: float, seed: str, untagged: str
) -> None:
    rng = random.Random(seed)
    driver = ToldDriver(root, notes, rng)
    while True:
        options = Options(grace, delete_untagged=untagged == "often" and rng.random() < 0.6)
        began = time.monotonic()
        try:
            await _collect(driver, notes, options, rng)
        except AlreadyRunning:
            notes.add("refused", began)
            await asyncio.sleep(0.1)


def main() -> None:
    """Collect until this process is ended."""
    root, notes, grace, seed, untagged, *fault = sys.argv[1:]
    for name in fault:
        FAULTS[name]()
    with suppress(KeyboardInterrupt):
        asyncio.run(
            _collect_repeatedly(Path(root), Notes(Path(notes)), float(grace), seed, untagged)
        )


if __name__ == "__main__":
    main()
