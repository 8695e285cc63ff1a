"""What a list of referrers reads: no manifest, within a budget, and once for all callers."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from pathlib import Path

import pytest

from storage.content import referrer_store
from storage.content.referrer_scan import Subjects
from storage.content.referrer_store import ReferrerPage
from storage.drivers.base import Driver, Reader
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from storage.errors import OperationDisabled
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import OCI_MANIFEST
from tests.storage.collecting import collect
from tests.storage.content import APP, CONFIG, entry, image, push_blob, push_manifest, raw
from tests.storage.read_counter import Pause, ReadCounter
from tests.support.drivers import AnyDriver

BASE = image(layers=[])
SUBJECT = Digest.of(raw(BASE))
SUBJECT_ENTRY = entry(raw(BASE), OCI_MANIFEST)


def referring(**more: object) -> dict[str, object]:
    """Make a manifest whose subject is BASE."""
    return image(layers=[], subject=SUBJECT_ENTRY, **more)


class ReadOnlyNotes(ReadCounter):
    """A driver that writes nothing."""

    async def write_unsynced(self, path: str, content: bytes) -> None:
        """Refuse."""
        raise OperationDisabled("writing")


@pytest.fixture
def counting(driver: AnyDriver) -> ReadCounter:
    """Count over each driver in turn."""
    return ReadCounter(driver)


async def _prepare(driver: AnyDriver, *types: str, **more: object) -> list[Digest]:
    """Push referrers, one of each type."""
    repository = StoredRegistry(driver).repository(APP)
    await push_blob(repository, CONFIG)
    return [
        await push_manifest(
            repository, referring(artifactType=kind, annotations={"n": str(at), **more})
        )
        for at, kind in enumerate(types)
    ]


def _anew(driver: Driver) -> StoredRepository:
    """Open the repository with empty caches, as a new process does."""
    return StoredRegistry(driver).repository(APP)


async def _scanned(driver: Driver) -> StoredRepository:
    """Open the repository in a process that knows the subjects, and no entry of SUBJECT."""
    repository = _anew(driver)
    await repository.referrers.page(Digest.of(b"another subject"), None, "", 1)
    return repository


async def _page(
    repository: StoredRepository, kind: str | None, after: str = "", limit: int = 1000
) -> ReferrerPage:
    return await repository.referrers.page(SUBJECT, kind, after, limit)


async def _all(repository: StoredRepository, kind: str | None) -> list[str]:
    """Follow the pages; each starts after the end of the previous one."""
    found: list[str] = []
    after, more = "", True
    while more:
        page = await _page(repository, kind, after)
        assert page.next > after or not page.more
        found += [str(one.digest) for one in page.entries]
        after, more = page.next, page.more
    return found


def _descriptions(digests: list[Digest]) -> list[str]:
    return [paths.referrer_descriptor(APP, SUBJECT, digest) for digest in digests]


async def _age(driver: AnyDriver, digests: list[Digest]) -> None:
    """Make the index that of an older version of this registry: only links."""
    for path in _descriptions(digests):
        assert await driver.delete(path)


@pytest.mark.parametrize("kind", ["a", "zzz", None])
async def test_a_list_opens_no_manifest(
    driver: AnyDriver, counting: ReadCounter, kind: str | None
) -> None:
    """By type or not, in a process with empty caches, once a scan was made."""
    digests = await _prepare(driver, *"abcabc")
    repository = await _scanned(counting)
    counting.reset()
    found = await _all(repository, kind)
    assert len(found) == {"a": 2, "zzz": 0, None: len(digests)}[kind]
    assert counting.blobs == 0
    assert counting.opened


async def test_an_index_of_an_older_version_is_filled_by_the_first_list(
    driver: AnyDriver, counting: ReadCounter
) -> None:
    """Links without descriptors are listed from the manifests, and the descriptors are written."""
    digests = await _prepare(driver, *"aab")
    expected = await _all(_anew(driver), "a")
    assert len(expected) == 2
    await _age(driver, digests)
    assert await _all(_anew(counting), "a") == expected
    repository = await _scanned(counting)
    counting.reset()
    assert await _all(repository, "a") == expected
    assert counting.blobs == 0


async def test_a_damaged_descriptor_is_written_again(driver: AnyDriver) -> None:
    """If it is empty, zeros, or that of another manifest, the manifest decides."""
    digests = await _prepare(driver, *"abc")
    expected = [one.document for one in (await _page(_anew(driver), None)).entries]
    other = expected[0].replace(b"sha256:", b"sha512:")
    contents = (b"", b"\0" * 200, other)
    for path, content in zip(_descriptions(digests), contents, strict=True):
        await driver.write_unsynced(path, content)
    assert [one.document for one in (await _page(_anew(driver), None)).entries] == expected
    for path in _descriptions(digests):
        assert await driver.read(path, 1 << 20) in expected


async def test_a_read_only_volume_is_listed(driver: AnyDriver) -> None:
    """A referrer whose descriptor cannot be written is listed all the same, each time."""
    digests = await _prepare(driver, *"aab")
    await _age(driver, digests)
    for _ in range(2):
        assert len(await _all(_anew(ReadOnlyNotes(driver)), "a")) == 2


async def test_a_page_reads_no_more_than_its_budget(
    driver: AnyDriver, counting: ReadCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends there, perhaps empty, and says where the next one starts; none is lost."""
    digests = await _prepare(driver, *"abcdefgh" * 4, more="x" * 1000)
    monkeypatch.setattr(referrer_store, "READ_BYTES", 5_000)
    empty = 0
    for kind, expected in (("h", 4), ("zzz", 0), (None, len(digests))):
        fresh = await _scanned(counting)
        found: list[str] = []
        after, more = "", True
        while more:
            counting.reset()
            page = await _page(fresh, kind, after)
            assert counting.bytes <= 5_000 + 2_500
            found += [str(one.digest) for one in page.entries]
            empty += not page.entries
            after, more = page.next, page.more
        assert len(found) == len(set(found)) == expected
        assert found == sorted(found)
    assert empty > 10


async def test_manifests_that_must_be_read_count_for_the_budget(
    driver: AnyDriver, counting: ReadCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an older version's index are spread over pages too."""
    digests = await _prepare(driver, *"a" * 12, more="x" * 3000)
    await _age(driver, digests)
    monkeypatch.setattr(referrer_store, "READ_BYTES", 10_000)
    repository = await _scanned(counting)
    counting.reset()
    page = await _page(repository, "zzz")
    assert page.more
    assert 1 <= counting.blobs <= 4


async def test_a_scan_is_made_once_for_all_callers(
    driver: AnyDriver, counting: ReadCounter
) -> None:
    """Fifty concurrent requests read each manifest once."""
    digests = await _prepare(driver, *"abcdefgh")
    repository = _anew(counting)
    pages = await asyncio.gather(*(_page(repository, kind) for kind in "abcde" * 10))
    assert [len(page.entries) for page in pages] == [1] * 50
    assert counting.blobs == len(digests)


@pytest.fixture
def many_threads(tmp_path: Path) -> FilesystemDriver:
    """Make a driver that could read for many requests at the same time."""
    return FilesystemDriver(tmp_path, threads=16)


async def test_lists_leave_threads_to_others(many_threads: FilesystemDriver) -> None:
    """However many lists of one repository are requested, one of them reads at a time."""
    driver = many_threads
    await _age(driver, await _prepare(driver, *"abcd"))
    counting = ReadCounter(driver)
    repository = await _scanned(counting)
    reading, most, free = 0, 0, threading.Event()

    def wait() -> None:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        free.wait(10)
        reading -= 1

    counting.before_blob = wait
    pages = [asyncio.ensure_future(_page(repository, f"type/{at}")) for at in range(12)]
    assert not await driver.batch(lambda reader: reader.names("nowhere"))
    for _ in range(100):
        if reading:
            break
        await asyncio.sleep(0.01)
    assert not await driver.batch(lambda reader: reader.names("nowhere"))
    free.set()
    await asyncio.gather(*pages)
    assert most == 1
    await driver.close()


async def test_a_scan_ends_when_the_last_caller_leaves(new_files: FilesystemDriver) -> None:
    """It stops before the next manifest; its results are cached, and the next scan continues."""
    digests = await _prepare(new_files, *"abcdefgh")
    counting = ReadCounter(new_files)
    pause = Pause(counting)
    repository = _anew(counting)
    tasks = [asyncio.ensure_future(_page(repository, None)) for _ in range(3)]
    await pause.reached()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    pause.end()
    await new_files.batch(lambda _: None)
    assert len((await _page(repository, None)).entries) == len(digests)
    # One was being read when all callers left. In all, each was read once.
    assert counting.blobs == len(digests)
    await new_files.close()


async def test_a_referrer_that_was_acknowledged_is_in_the_next_list(
    new_files: FilesystemDriver,
) -> None:
    """A list that started before the push ended does not serve a request that came later."""
    await _prepare(new_files, *"abcd")
    counting = ReadCounter(new_files)
    pause = Pause(counting)
    repository = _anew(counting)
    early = asyncio.ensure_future(_page(repository, None))
    await pause.reached()
    await push_manifest(_anew(new_files), referring(artifactType="late"))
    late = asyncio.ensure_future(_page(repository, "late"))
    others = [asyncio.ensure_future(_page(repository, None)) for _ in range(3)]
    await asyncio.sleep(0)
    pause.end()
    await early
    assert len((await late).entries) == 1
    assert [len((await page).entries) for page in others] == [5] * 3
    await new_files.close()


async def test_the_cache_of_referrers_is_bounded_in_bytes(
    driver: AnyDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As objects, annotations of one letter take fifty bytes each; the cache keeps their JSON."""
    notes = {chr(0x4E00 + at): "x" for at in range(20_000)}
    repository = StoredRegistry(driver).repository(APP)
    await push_blob(repository, CONFIG)
    for at in range(4):
        await push_manifest(repository, referring(artifactType=f"t/{at}", annotations=notes))
    fresh = _anew(driver)
    found = (await _page(fresh, None)).entries
    assert [json.loads(one.document).get("annotations") for one in found] == [None] * 4
    assert fresh.referrers._cache.entries.size == sum(one.memory + 224 for one in found) < 6000


async def test_a_deleted_referrer_leaves_no_descriptor(files: FilesystemDriver) -> None:
    """Nor does one that other software removed, once a collection has run."""
    first, second = await _prepare(files, *"ab")
    await _anew(files).manifests.delete(first)
    folder = paths.referrers_of_all(APP)
    left = await files.batch(lambda reader: reader.folders(f"{folder}/sha256/{SUBJECT.hex}/sha256"))
    assert left == [second.hex]
    await files.delete(paths.revision_link(APP, second))
    await files.delete(paths.referrer_link(APP, SUBJECT, second))
    assert await files.exists(paths.referrer_descriptor(APP, SUBJECT, second))
    await collect(files, delete_untagged=False)
    assert not await files.exists(folder)


@pytest.mark.parametrize("more", [{}, {"subject": SUBJECT_ENTRY}])
async def test_the_cache_of_subjects_is_bounded_in_bytes(
    more: dict[str, object],
) -> None:
    """With a subject or without; over the limit all of them are dropped."""
    driver, digests, limit = MemoryDriver(), list[Digest](), 256 << 10
    for number in range(2500):
        content = raw(image(layers=[], annotations={"n": str(number)}, **more))
        digests.append(Digest.parse(str(Digest.of(content))))  # which is remembered elsewhere
        await driver.write_unsynced(paths.blob(digests[-1]), content)

    def learn(reader: Reader) -> None:
        tracemalloc.start()
        before, taken = tracemalloc.get_traced_memory()[0], 0
        subjects = Subjects(limit)
        for number, digest in enumerate(digests):
            known = subjects.of(reader, digest.algorithm, digest.hex)
            assert known == subjects.of(reader, digest.algorithm, digest.hex)
            assert known == (SUBJECT if more else None,)
            if number % 250 == 249:
                taken = tracemalloc.get_traced_memory()[0] - before
                assert subjects.size <= limit
                assert taken <= subjects.size + 20_000
                assert subjects.size <= 2.5 * taken
        tracemalloc.stop()

    await driver.batch(learn)
