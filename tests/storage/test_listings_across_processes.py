"""Other programs change the tags of a volume; a listing shows each change once it is complete."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.drivers.filesystem import timestamps
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.mounts import is_local
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredTags
from storage.values import paths
from tests.storage import tag_changer
from tests.storage.content import APP

pytestmark = pytest.mark.disk

LASTING = [f"lasting-{number:03d}" for number in range(300)]
PROGRAMS, TAGS_EACH, ROUNDS = 3, 6, 120
# Listings read a folder anew for so long after it changed; every few rounds they need not.
SETTLED_NS, REST = 15_000_000, 0.03
# What may be done to a tag that is there, that is not, or in whose place is a plain file.
MOVES = {
    "there": {"remove": "gone", "vanish": "gone", "spoil": "spoilt"},
    "gone": {"add": "there", "appear": "there"},
    "spoilt": {"mend": "there"},
}


class Program:
    """A running `tag_changer` and the tags that only this one changes."""

    def __init__(self, folder: Path, number: int) -> None:
        self._states = dict.fromkeys((f"p{number}-{n}" for n in range(TAGS_EACH)), "gone")
        self._process = subprocess.Popen(
            [sys.executable, "-S", tag_changer.__file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def begin(self, chance: random.Random) -> str:
        """Start changing a tag, and return which."""
        tag = chance.choice(sorted(self._states))
        how, then = chance.choice(sorted(MOVES[self._states[tag]].items()))
        self._states[tag] = then
        assert self._process.stdin is not None
        self._process.stdin.write(f"{how} {tag}\n")
        return tag

    def finish(self) -> None:
        """Wait until the change is complete."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n"

    def tags(self) -> set[str]:
        """Return the tags that exist when no change is running."""
        return {tag for tag, state in self._states.items() if state == "there"}

    def end(self) -> None:
        """End the process and close its pipes."""
        assert self._process.communicate()[0] == ""
        assert self._process.returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a repository's folder of tags, with many in it."""
    folder = tmp_path / paths.tags(APP)
    for tag in LASTING:
        tag_changer.add(str(folder / tag))
    return folder


@pytest.fixture
def programs(folder: Path) -> Iterator[list[Program]]:
    """Run some programs that change tags."""
    with contextlib.ExitStack() as stack:
        running = []
        for number in range(PROGRAMS):
            running.append(Program(folder, number))
            stack.callback(running[-1].end)
        yield running


@pytest.fixture
def drivers(tmp_path: Path) -> list[FilesystemDriver]:
    """Make the drivers of two workers, each with a cache of its own."""
    return [FilesystemDriver(tmp_path, threads=2) for _ in range(2)]


@pytest.fixture
async def workers(drivers: list[FilesystemDriver]) -> AsyncIterator[list[StoredTags]]:
    """Give the tags as two workers see them."""
    yield [StoredRegistry(driver).repository(APP).tags for driver in drivers]
    for driver in drivers:
        await driver.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have folders cached soon, and collect which of them are read: by descriptors."""
    found: list[int] = []
    scandir = os.scandir

    def counting(path: int | str) -> Any:
        if isinstance(path, int):
            found.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    monkeypatch.setattr(timestamps, "SETTLED_NS", SETTLED_NS)
    return found


async def _listed(tags: StoredTags, after: str = "", limit: int | None = None) -> list[str]:
    return list((await tags.page(after, limit)).entries)


@pytest.mark.parametrize("seed", range(2))
async def test_a_complete_change_of_another_program_is_in_every_later_listing(
    seed: int,
    folder: Path,
    programs: list[Program],
    workers: list[StoredTags],
    reads: list[int],
) -> None:
    """Several programs add, remove and damage tags; listings show exactly the tags that exist.

    During changes a listing shows every tag that does not change, and none that never existed.
    """
    chance = random.Random(seed)
    listings = 0
    now = LASTING
    for _ in range(ROUNDS):
        before = set(now)
        busy = chance.sample(programs, chance.randint(1, PROGRAMS))
        changing = {program.begin(chance) for program in busy}
        meanwhile = set(await _listed(chance.choice(workers)))
        for program in busy:
            program.finish()
        now = sorted(set(LASTING).union(*(program.tags() for program in programs)))
        assert before - changing <= meanwhile <= before | changing
        listings += 1 + await _assert_listed(workers, now)
        if chance.random() < 0.3:
            await asyncio.sleep(REST)
            listings += await _assert_listed(workers, now)
    _assert_some_were_remembered(folder, listings, reads)


async def _assert_listed(workers: list[StoredTags], tags: list[str]) -> int:
    """Check listings against the tags that exist, and return how many were made."""
    for worker in workers:
        assert await _listed(worker) == tags
        assert await _listed(worker, tags[99], 120) == tags[100:220]
    return 2 * len(workers)


def _assert_some_were_remembered(folder: Path, listings: int, reads: list[int]) -> None:
    """Fail if nothing was cached: then the test would prove nothing."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        print(listings, len(reads))
        if is_local(fd):
            assert len(reads) < listings
    finally:
        os.close(fd)
