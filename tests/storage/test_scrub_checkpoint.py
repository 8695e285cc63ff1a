"""An interrupted scrub continues where it stopped, and skips nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest

from storage.drivers.base import Driver, OpenFile
from storage.drivers.memory import MemoryDriver
from storage.maintenance.progress import NoProgress
from storage.maintenance.scrub.checkpoint import OLDEST
from storage.maintenance.scrub.findings import Finding, Kind, read_finding, shown
from storage.maintenance.scrub.reading import blob_contents
from storage.maintenance.scrub.reading.read_rate import ReadRate
from storage.maintenance.scrub.run import Options, Scrub
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName
from storage.values.paths import SCRUBBED
from tests.storage.scrubbing import Around, Findings, scrub

BLOBS = {Digest.of(b"blob %d" % number): b"blob %d" % number for number in range(40)}
ORDERED = sorted(BLOBS, key=str)
CORRUPT = ORDERED[::4]
NAMES = [RepositoryName(f"some/app-{number}") for number in range(6)]
# Each of these repositories has an orphaned link.
FORESEEN = {(Kind.CORRUPT_BLOB, paths.blob(one)) for one in CORRUPT} | {
    (Kind.ORPHANED_LINK, paths.layer_link(name, Digest.of(b"gone"))) for name in NAMES
}


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every blob as a large one, which is opened and read in parts."""
    monkeypatch.setattr(blob_contents, "_SMALL", -1)


@pytest.fixture
async def damaged() -> MemoryDriver:
    """Return a storage with blobs, some of them corrupt, and dead links."""
    driver = MemoryDriver()
    for digest, content in BLOBS.items():
        await driver.write(paths.blob(digest), b"?" if digest in CORRUPT else content)
    for name in NAMES:
        await driver.write(
            paths.layer_link(name, Digest.of(b"gone")), str(Digest.of(b"gone")).encode()
        )
    return driver


class Watched(Around):
    """Counts the reads of each blob, and the concurrent ones; `stop_at` ends the scrub."""

    def __init__(self, inner: Driver, stop_at: int = -1) -> None:
        super().__init__(inner)
        self.opened: list[str] = []
        self.open_now = 0
        self.most = 0
        self._stop_at = stop_at
        self.work: asyncio.Task[Any] | None = None

    async def open(self, path: str) -> OpenFile:
        """Count, and wait for a moment, as a disk does."""
        self.opened.append(path)
        if len(self.opened) == self._stop_at:
            assert self.work is not None
            self.work.cancel()
        await asyncio.sleep(0)
        file = _Counted(await super().open(path), self)
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        return file


class _Counted:
    def __init__(self, inner: OpenFile, driver: Watched) -> None:
        self._inner = inner
        self._driver = driver
        self.size = inner.size
        self.file = inner.file

    def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Pass on."""
        return self._inner.stream(start, stop)

    async def close(self) -> None:
        """Count."""
        self._driver.open_now -= 1
        await self._inner.close()


async def interrupted(driver: Driver, at: int, **options: Any) -> tuple[Findings, Scrub, Watched]:
    """Scrub until blob number `at` is about to be read."""
    watched = Watched(driver, stop_at=at)
    found = Findings()
    work = Scrub(watched, Options(**options), found, NoProgress())
    watched.work = asyncio.ensure_future(work.run())
    await asyncio.wait([watched.work])
    return found, work, watched


def foreseen(findings: list[Finding]) -> set[tuple[Kind, str]]:
    """Return the expected kinds and paths."""
    return {(one.kind, one.path) for one in findings}


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("repair", [False, True])
async def test_nothing_is_skipped(damaged: MemoryDriver, parallel: int, *, repair: bool) -> None:
    """After many interruptions all blobs are read, and the last report is complete."""
    read: list[str] = []
    for _ in range(len(BLOBS)):
        _, work, watched = await interrupted(damaged, 7, parallel=parallel, repair=repair)
        assert watched.work is not None
        read += watched.opened
        assert watched.open_now == 0
        assert watched.most <= parallel
        if not watched.work.cancelled():
            break
        assert work.summary.position.startswith("blobs")
    else:
        raise AssertionError("it never comes to its end")
    assert set(read) >= set(map(paths.blob, BLOBS))
    # Blobs that were being read are read again, corrupt ones twice before they are moved.
    assert len(read) <= len(BLOBS) * 2 + len(CORRUPT)
    left = work.summary.errors + work.summary.notes
    assert work.summary.repaired + left == len(FORESEEN)
    assert work.summary.continued_from


async def test_a_continued_scrub_reports_earlier_findings(damaged: MemoryDriver) -> None:
    """Each finding is reported once, in order, including those before the interruption."""
    first, work, _ = await interrupted(damaged, 20, parallel=2)
    assert first.all
    assert work.summary.position
    findings, summary = await scrub(damaged)
    assert findings[: len(first.all)] == first.all
    assert foreseen(findings) == FORESEEN
    assert len(findings) == len(FORESEEN) == summary.errors + summary.notes
    assert summary.continued_from == work.summary.position
    assert summary.position == ""
    # That scrub was completed: the next one begins from the start.
    assert (await scrub(damaged))[1].continued_from == ""


async def test_it_continues_among_repositories(
    damaged: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blobs are not read again; the repository that was interrupted is checked again."""

    class Until(Findings):
        def found(self, finding: Finding) -> None:
            super().found(finding)
            if finding.repository == NAMES[3]:
                task.cancel()

    found = Until()
    task = asyncio.ensure_future(Scrub(damaged, Options(), found, NoProgress()).run())
    await asyncio.wait([task])
    assert task.cancelled()
    watched = Watched(damaged)
    findings, summary = await scrub(watched)
    assert watched.opened == []
    assert summary.continued_from == f"repositories after {NAMES[2]}"
    assert foreseen(findings) == FORESEEN
    assert len(findings) == len(FORESEEN)


async def test_restart_begins_from_the_start(damaged: MemoryDriver) -> None:
    """However far the last scrub got."""
    await interrupted(damaged, 20)
    watched = Watched(damaged)
    findings, summary = await scrub(watched, restart=True)
    assert len(watched.opened) == len(BLOBS)
    assert summary.continued_from == ""
    assert len(findings) == len(FORESEEN)


async def test_a_repair_does_not_continue_a_report(damaged: MemoryDriver) -> None:
    """What the report checked is not repaired yet."""
    await interrupted(damaged, 20)
    _, summary = await scrub(damaged, repair=True)
    assert summary.continued_from == ""
    assert (summary.repaired, summary.errors) == (len(FORESEEN), 0)


async def test_a_report_continues_a_repair(damaged: MemoryDriver) -> None:
    """What the repair checked is intact; its repairs are reported as such."""
    first, _, _ = await interrupted(damaged, 20, repair=True)
    findings, summary = await scrub(damaged)
    assert summary.continued_from
    assert summary.repaired == len(first.all)
    assert findings[: len(first.all)] == first.all


async def _noted(driver: Driver) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(await driver.read(SCRUBBED, 1 << 20))
    return document


@pytest.mark.parametrize(
    "change",
    [
        {"noted": time.time() - OLDEST - 86400},
        {"noted": time.time() + OLDEST + 86400},
        {"version": 2},
        {"stage": "tags"},
        {"after": "sha256:0"},
        {"findings": [{}]},
        {"findings": None},
        {"counts": [["no-such-kind", False, 1]]},
        {"blobs": "many"},
    ],
    ids=count(),
)
async def test_saved_progress_that_is_old_or_damaged_is_ignored(
    damaged: MemoryDriver, change: dict[str, object]
) -> None:
    """The scrub begins from the start, and is completed."""
    await interrupted(damaged, 20)
    await damaged.write_unsynced(SCRUBBED, json.dumps({**await _noted(damaged), **change}).encode())
    findings, summary = await scrub(damaged)
    assert summary.continued_from == ""
    assert foreseen(findings) == FORESEEN


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 1}'])
async def test_saved_progress_that_is_garbage_is_ignored(
    damaged: MemoryDriver, content: bytes
) -> None:
    """What a power failure leaves of the file stops nothing."""
    await damaged.write_unsynced(SCRUBBED, content)
    assert (await scrub(damaged))[1].continued_from == ""


async def test_progress_is_saved_regularly(
    damaged: MemoryDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrub that is killed can be continued, too."""
    monkeypatch.setattr("storage.maintenance.scrub.record._SAVE_EVERY", 0.0)
    noted: list[str] = []

    class Noting(Watched):
        async def write_unsynced(self, path: str, content: bytes) -> None:
            noted.append(json.loads(content)["stage"])
            await super().write_unsynced(path, content)

    await scrub(Noting(damaged))
    assert set(noted) == {"blobs", "repositories"}


@pytest.mark.parametrize(
    "finding",
    [
        Finding(Kind.FOREIGN, "a/b", "what"),
        Finding(Kind.CORRUPT_BLOB, "a", "b", None, ORDERED[0], "moved", repaired=True),
        Finding(Kind.DEAD_TAG, "a", "b", NAMES[0], ORDERED[0], "how"),
    ],
)
def test_a_finding_is_restored_from_its_document(finding: Finding) -> None:
    """`read_finding` is the inverse of `document`."""
    assert read_finding(json.loads(json.dumps(finding.document()))) == finding


def test_names_from_the_disk_are_shown_on_one_line() -> None:
    """Bytes that are no text, line ends and control characters are escaped."""
    assert shown("é a/b\n\x1b[2J\udcff") == "é a/b\\n\\x1b[2J\\xff"


async def test_the_rate_limits_all_readers_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for as long as the bytes take; without a rate, or bytes, they do not wait."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("storage.maintenance.scrub.reading.read_rate.asyncio.sleep", sleep)
    monkeypatch.setattr(
        "storage.maintenance.scrub.reading.read_rate.time.monotonic", lambda: 1000.0
    )
    rate = ReadRate(rate=50.0)
    await asyncio.gather(rate.spend(100), rate.spend(100), rate.spend(50))
    assert waits == [2.0, 4.0, 5.0]
    await ReadRate().spend(1 << 40)
    await rate.spend(0)
    assert len(waits) == 3
