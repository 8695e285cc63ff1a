"""The cost of collecting, scrubbing and du per blob does not grow with the number of blobs.

Counted, not timed: SQLite statements and steps, reads of the tree, memory of Python.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import sqlite3
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

import storage.values.digest
from benchmarks import crowd
from storage.drivers.base import Driver, FileInfo, OpenFile, Reader
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_census import FileCensus
from storage.drivers.filesystem.folder_cache import FolderCache
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.collection_database import SCHEMA, CollectionDatabase
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.report import plan_lines
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlob
from storage.maintenance.usage.examination import usage_of
from storage.maintenance.usage.usage_database import SCHEMA as USAGE_SCHEMA
from storage.values.digest import Digest
from tests.storage.scrubbing import Around, scrub
from tests.storage.wrappers import ObservedReader, T
from tests.support.scratch import scratch_folder

pytestmark = pytest.mark.slow

FEW, MANY = 400, 4_000
KIB = 1 << 10
MIB = 1 << 20
_STEPS = 100
_QUERIES = ("SELECT", "INSERT", "DELETE")
_VALUE = re.compile(r"[xX]?'[^']*'|\b\d+\b")

Work: TypeAlias = Callable[[Driver, Path], Awaitable[None]]


async def collect(driver: Driver, _: Path) -> None:
    """Plan, print and sweep."""
    async with planned(driver, Options(grace=0)) as plan:
        assert await driver.batch(lambda _: sum(1 for _ in plan_lines(plan)))
        await driver.batch(lambda _: list(plan.database.candidates.manifests()))
        swept = await carry_out(driver, plan)
    assert swept.blobs
    assert not swept.failed


async def collect_untagged(driver: Driver, _: Path) -> None:
    """Plan and sweep, with untagged manifests."""
    async with planned(driver, Options(grace=0, delete_untagged=True)) as plan:
        swept = await carry_out(driver, plan)
    assert swept.manifests
    assert not swept.failed


async def check(driver: Driver, _: Path) -> None:
    """Scrub without repairs."""
    findings, summary = await scrub(driver)
    assert summary.blobs
    assert findings == []


async def explain(driver: Driver, root: Path) -> None:
    """Report disk usage."""
    async with usage_of(driver, FileCensus(root), 0) as usage:
        assert usage.blobs.idle.count
        assert await driver.batch(lambda _: list(usage.database.repositories(by_size=False)))


@dataclass(slots=True)
class Cost:
    """Counts of one run."""

    commits: int = 0
    statements: int = 0
    steps: int = 0
    looks: int = 0
    hops: int = 0
    peak: int = 0
    queries: dict[str, str] = field(default_factory=dict)

    def add_statement(self, statement: str) -> None:
        """Count an SQLite statement; keep the first of those that differ only in values."""
        self.statements += 1
        self.commits += statement.startswith("COMMIT")
        if statement.lstrip().startswith(_QUERIES):
            self.queries.setdefault(_VALUE.sub("?", statement), statement)

    def add_read(self) -> None:
        """Count a read of the tree."""
        self.looks += 1

    def add_steps(self) -> None:
        """Count SQLite steps."""
        self.steps += _STEPS


class Counting(Around):
    """Counts reads of the tree, and hops to a thread."""

    def __init__(self, inner: Driver, cost: Cost) -> None:
        super().__init__(inner)
        self._cost = cost

    async def stat(self, path: str) -> FileInfo | None:
        """Count."""
        self._cost.hops += 1
        return await super().stat(path)

    async def open(self, path: str) -> OpenFile:
        """Count; there will be more."""
        self._cost.hops += 1
        return await super().open(path)

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Count."""
        self._cost.hops += 1
        return await super().batch(lambda reader: job(ObservedReader(reader, self._cost.add_read)))


@contextmanager
def traced() -> Iterator[None]:
    """Trace the memory that Python allocates."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@contextmanager
def metered(cost: Cost) -> Iterator[None]:
    """Count what SQLite does, and the peak of Python's memory."""
    connect = sqlite3.connect

    def watched(*args: Any, **options: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*args, **options)
        db.set_trace_callback(cost.add_statement)
        db.set_progress_handler(cost.add_steps, _STEPS)
        return db

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sqlite3.connect", watched)
        # What these two remember has a bound, and is more than all there is here.
        patched.setattr("storage.drivers.filesystem.folder_cache._MANY", 1 << 30)
        patched.setattr("storage.values.digest._parse", storage.values.digest._parse.__wrapped__)
        # Room for the largest manifest, which one has for an instant, would hide all else.
        patched.setattr("storage.maintenance.garbage.mark.dependencies.LARGEST_MANIFEST", 64 * KIB)
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        yield
        cost.peak = tracemalloc.get_traced_memory()[1] - before


def cost_of(work: Work, blobs: int) -> Cost:
    """Run work over a registry of so many blobs, and count."""
    with scratch_folder() as root:
        crowd.populate(root, blobs)
        crowd.litter(root, blobs)
        _make_old(root)
        cost, driver = Cost(), FilesystemDriver(root, threads=2)

        async def run() -> None:
            try:
                await work(Counting(driver, cost), root)
            finally:
                await driver.close()

        with metered(cost):
            asyncio.run(run())
        return cost


def _make_old(root: Path) -> None:
    """Make all blobs older than the shortest grace period."""
    for folder, _, files in os.walk(root / "docker/registry/v2/blobs"):
        for file in files:
            os.utime(f"{folder}/{file}", (1e9, 1e9))


@pytest.mark.parametrize("work", [collect_untagged, explain])
def test_one_repository_of_any_size_takes_no_more_memory(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No layers, manifests or tags are held, even if all are in one repository."""
    monkeypatch.setattr(crowd, "IMAGES_PER_REPOSITORY", 1 << 30)
    monkeypatch.setattr(crowd, "BLOBS_PER_IMAGE", 3)
    monkeypatch.setattr(crowd, "IMAGES_PER_TAG", 2)
    with traced():
        few, many = cost_of(work, FEW), cost_of(work, MANY)
    # Less than a digest for each layer; the names of all would be more.
    assert many.peak - few.peak < 256 * KIB


@pytest.mark.parametrize("work", [collect, check, explain])
def test_ten_times_as_many_blobs_cost_ten_times_as_much_in_the_same_memory(work: Work) -> None:
    """Reads, and SQLite statements and steps, are constant per blob; there are few commits.

    Hops to a thread are few as well, except for a scrub, which reads each blob in one.
    """
    with traced():
        few, many = cost_of(work, FEW), cost_of(work, MANY)
    times = MANY / FEW
    assert few.looks * times / 2 < many.looks < few.looks * times * 1.1
    assert many.statements <= few.statements * times * 1.1
    # A tree of ten times the size may be a level deeper.
    assert many.steps <= few.steps * times * 1.3
    assert many.commits - few.commits < 10
    more = (MANY - FEW) * (1 + 1 / crowd.BLOBS_PER_IMAGE)
    assert many.hops - few.hops < (more * 1.1 if work is check else 100)
    # Less than a digest for each blob.
    assert many.peak - few.peak < 256 * KIB


def test_no_query_sorts_what_grows_with_the_blobs() -> None:
    """Each result follows an index: a sort would hold it in memory, or fill a disk."""
    collecting, explaining = cost_of(collect, FEW), cost_of(explain, FEW)
    queries = collecting.queries | cost_of(collect_untagged, FEW).queries | explaining.queries
    assert len(queries) > 20
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA + USAGE_SCHEMA)
    for query in queries.values():
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert not any("TEMP B-TREE" in step for step in plan), (query, plan)


def test_of_a_large_folder_only_names_are_held() -> None:
    """One repository may have a million layers: a name takes 113 bytes, an entry 73 more."""
    assert _peak_of_a_large_folder(lambda root: FolderCache().names(str(root))) / MANY < 160


def test_of_a_large_folder_nothing_is_held_by_a_census() -> None:
    """Files are counted one by one."""
    peak = _peak_of_a_large_folder(lambda root: list(FileCensus(root).files("", lambda *_: None)))
    assert peak < 64 * KIB


def _peak_of_a_large_folder(work: Callable[[Path], object]) -> int:
    with scratch_folder() as root:
        for number in range(MANY):
            (root / f"{number:064x}").mkdir()
        with traced():
            work(root)
            return tracemalloc.get_traced_memory()[1]


@pytest.mark.parametrize(("free", "spills"), [(1 << 40, True), (0, False)])
def test_a_full_disk_is_not_written_to(
    free: int, spills: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection's database stays in memory while the temporary folder's disk is full."""
    monkeypatch.setattr("storage.maintenance.database._CACHE_KIB", 256)
    found = os.statvfs(tmp_path)

    class Disk:
        f_bavail, f_frsize = free // found.f_frsize, found.f_frsize

    monkeypatch.setattr("os.statvfs", lambda _: Disk)
    tables = CollectionDatabase()
    for number in range(100):
        digests = (Digest.of(f"{number} {one}".encode()) for one in range(100))
        tables.blobs.add(SurveyedBlob(digest, 1, 1, True) for digest in digests)
    assert any("/etilqs_" in one for one in _open_files()) is spills  # as SQLite names them
    assert tables.blobs.count_and_size() == (10_000, 10_000)
    tables.close()


def test_rows_in_memory_are_written_only_if_all_of_them_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with a little free space is not filled up, which would fail the collection."""
    database = "storage.maintenance.database"
    monkeypatch.setattr(f"{database}._CACHE_KIB", 256)
    monkeypatch.setattr(f"{database}._SPARE", MIB)
    free = 0
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    tables = CollectionDatabase()

    def add(numbers: Iterable[int]) -> None:
        digests = (Digest.of(str(number).encode()) for number in numbers)
        tables.blobs.add(SurveyedBlob(digest, 1, 1, True) for digest in digests)

    add(range(60_000))
    for number, room, spills in ((3_000, 2 * MIB, False), (6_000, 64 * MIB, True)):
        free = room
        add(range(-number, 0))
        assert any("/etilqs_" in one for one in _open_files()) is spills
    assert tables.blobs.count_and_size() == (66_000, 66_000)
    tables.close()


def _open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    return [os.readlink(one) for one in folder.iterdir() if one.is_symlink()]
