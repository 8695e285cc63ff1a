"""Tests of a scrub beside a serving registry: what it finds, and what it repairs."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import cast

import pytest

from storage.drivers.base import SMALL, Driver, ExclusiveEditor, OpenFile, Reader, TouchingReader
from storage.drivers.changes import Step
from storage.errors import AlreadyRunning, BlobUnknown, ManifestUnknown, PathNotFound
from storage.maintenance.progress import NoProgress
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.run import Options, Scrub
from storage.maintenance.tolerant_reads import TolerantReader
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from storage.values.paths import SCRUBBED, quarantined
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    entry,
    image,
    index,
    pull_blob,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.scrubbing import Around, Findings, scrub
from tests.storage.wrappers import Change, T
from tests.support.drivers import AnyDriver

BLOB = Digest.of(LAYER)
OTHER_BYTES = bytes(len(LAYER))


class BesideOthers(Around):
    """Lets another process act before the second look at a finding, or before its repair."""

    def __init__(
        self, inner: Driver, others: Callable[[], Awaitable[object]], *, at_repair: bool = True
    ) -> None:
        super().__init__(inner)
        self._looks = 1 if at_repair else 0
        self._others = [others]

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        """Run the other process first, once."""
        if change.kind == "exclusive":
            await self._let_others_act()
        return await carry_out()

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        """Run the other process first, once."""
        await self._let_others_act()
        return await self._inner.publish(*steps, check=check)

    async def _let_others_act(self) -> None:
        self._looks -= 1
        if self._looks < 0 and self._others:
            await self._others.pop()()


class FailingReads(Around):
    """A disk on which some paths cannot be read."""

    def __init__(self, inner: Driver, paths: set[str]) -> None:
        super().__init__(inner)
        self._paths = paths

    async def open(self, path: str) -> OpenFile:
        if path in self._paths:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return await super().open(path)

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Fail reads of these paths in the job."""
        return await super().batch(lambda reader: job(_FailingReader(reader, self._paths)))

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        """Fail reads of these paths in the job, which removes nothing."""
        failing = cast("Callable[[Reader], T]", job)
        return await super().exclusively(
            lambda editor: failing(_FailingReader(editor, self._paths))
        )


class _FailingReader(TolerantReader):
    def __init__(self, inner: Reader, paths: set[str]) -> None:
        super().__init__(inner, [])
        self._paths = paths

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Fail, or pass on."""
        if path in self._paths:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(path, limit)


async def corrupt(driver: Driver) -> None:
    """Replace a blob's bytes by others of the same length."""
    await driver.write(paths.blob(BLOB), OTHER_BYTES)


async def test_an_intact_registry_is_clean(driver: AnyDriver, registry: StoredRegistry) -> None:
    """A scrub of what pushes leave checks everything and finds nothing."""
    app, other = registry.repository(APP), registry.repository(OTHER)
    child = await push_image(app, "v1", "v2")
    await push_manifest(app, index([raw(image())]), "multi")
    await push_image(app, "signed", subject=entry(raw(image())))
    await push_blob(other, b"", "sha512")
    await other.blobs.mount(BLOB, APP)
    await app.uploads.start("sha256")
    await app.manifests.delete(child)
    for repair in (False, True):
        findings, summary = await scrub(driver, repair=repair)
        # The child was deleted, which is allowed: its index is sparse now.
        assert [one.kind for one in findings] == [Kind.MISSING_CHILD]
        assert (summary.errors, summary.repaired, summary.repositories) == (0, 0, 2)
        assert summary.blobs == await driver.batch(_count_blobs)
    assert await driver.exists(SCRUBBED) is False


def _count_blobs(reader: Reader) -> int:
    tops = [f"{paths.BLOBS}/{algorithm}" for algorithm in reader.folders(paths.BLOBS)]
    shorts = [f"{top}/{short}" for top in tops for short in reader.folders(top)]
    return sum(len(reader.folders(short)) for short in shorts)


async def test_an_empty_storage_is_clean(driver: AnyDriver) -> None:
    """A scrub of an empty storage finds nothing."""
    findings, summary = await scrub(driver, repair=True)
    assert (findings, summary.blobs, summary.errors) == ([], 0, 0)


async def test_corrupt_bytes_are_found_with_their_links(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """Even if the length is right; the images that need them are reported as well."""
    digest = await push_image(registry.repository(APP), "v1")
    await corrupt(driver)
    findings, summary = await scrub(driver)
    assert [(one.kind, one.repository) for one in findings] == [
        (Kind.CORRUPT_BLOB, None),
        (Kind.DEAD_LINK, APP),
        (Kind.MISSING_BLOB, APP),
    ]
    assert findings[0].digest == findings[1].digest == BLOB
    assert findings[2].digest == digest
    assert str(Digest.of(OTHER_BYTES)) in findings[0].what
    assert summary.errors == 3


async def test_a_corrupt_blob_is_replaced_by_the_next_push_after_a_repair(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """It is missing for clients, kept in quarantine, and restored by a push."""
    repository = registry.repository(APP)
    digest = await push_image(repository, "v1")
    await corrupt(driver)
    findings, _ = await scrub(driver, repair=True)
    assert [(one.kind, one.repaired) for one in findings] == [
        (Kind.CORRUPT_BLOB, True),
        (Kind.ORPHANED_LINK, True),
        (Kind.MISSING_BLOB, False),
    ]
    with pytest.raises(BlobUnknown):
        await repository.blobs.size(BLOB)
    assert await driver.read(quarantined(BLOB)) == OTHER_BYTES[:4096]
    await push_blob(repository, LAYER)
    assert await pull_blob(repository, BLOB) == LAYER
    assert (await repository.manifests.get(Tag("v1"))).digest == digest
    findings, _ = await scrub(driver, repair=True)
    assert findings == []


async def test_a_push_replaces_corrupt_bytes_of_the_right_length(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """This works without a scrub."""
    repository = registry.repository(APP)
    await push_image(repository, "v1")
    await corrupt(driver)
    await push_blob(repository, LAYER)
    assert await pull_blob(repository, BLOB) == LAYER


async def test_a_corrupt_manifest_is_removed_with_its_tags_and_restored(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """Its link and its tag are removed; pushing the image again restores both."""
    digest = await push_image(registry.repository(APP), "v1")
    await driver.write(paths.blob(digest), b"x" * len(raw(image())))
    findings, summary = await scrub(driver, repair=True)
    kinds = [one.kind for one in findings]
    assert kinds == [Kind.CORRUPT_BLOB, Kind.DEAD_LINK, Kind.DEAD_TAG]
    assert (summary.errors, summary.repaired) == (0, 3)
    fresh = StoredRegistry(driver).repository(APP)
    with pytest.raises(ManifestUnknown):
        await fresh.manifests.get(Tag("v1"))
    assert not (await fresh.tags.page("", None)).entries
    await push_image(fresh, "v1")
    assert (await fresh.manifests.get(Tag("v1"))).raw == raw(image())


async def test_a_blob_that_is_pushed_again_meanwhile_stays(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """A blob that was replaced before it could be moved is read again."""
    repository = registry.repository(APP)
    await push_image(repository, "v1")
    await corrupt(driver)
    beside = BesideOthers(driver, lambda: push_blob(repository, LAYER))
    findings, _ = await scrub(beside, repair=True)
    assert findings == []
    assert await pull_blob(repository, BLOB) == LAYER
    assert not await driver.exists(quarantined(BLOB))


@pytest.mark.parametrize("what", ["layer", "revision", "tag"])
async def test_a_dead_link_that_is_repaired_by_a_push_stays(
    driver: AnyDriver, registry: StoredRegistry, what: str
) -> None:
    """The link was dead when it was found; a push came before its removal."""
    digest = await push_image(registry.repository(APP), "v1")
    gone = {
        "layer": paths.blob(BLOB),
        "revision": paths.blob(digest),
        "tag": paths.revision_link(APP, digest),
    }
    await driver.delete(gone[what])

    async def again() -> None:
        # A push of the tag itself would have to wait for the scrub to release its lock.
        await push_image(StoredRegistry(driver).repository(APP))

    findings, _ = await scrub(BesideOthers(driver, again), repair=True)
    assert [one for one in findings if one.repaired] == []
    fresh = StoredRegistry(driver).repository(APP)
    assert await pull_blob(fresh, BLOB) == LAYER
    assert (await fresh.manifests.get(Tag("v1"))).digest == digest


async def test_a_blob_that_is_pushed_or_collected_meanwhile_is_no_finding(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """It is pushed again, or its link is removed, before the second look."""
    repository = registry.repository(APP)
    await push_image(repository, "v1")
    await corrupt(driver)
    beside = BesideOthers(driver, lambda: push_blob(repository, LAYER), at_repair=False)
    assert (await scrub(beside))[0] == []
    link = paths.layer_link(OTHER, Digest.of(b"unneeded"))
    await driver.write(link, str(Digest.of(b"unneeded")).encode())
    beside = BesideOthers(driver, lambda: driver.delete(link), at_repair=False)
    assert (await scrub(beside))[0] == []


class PublishedLate(Around):
    """Publishes a blob right after an `open` that did not find it."""

    def __init__(self, inner: Driver, publish: Callable[[], Awaitable[object]]) -> None:
        super().__init__(inner)
        self._others = [publish]

    async def open(self, path: str) -> OpenFile:
        try:
            return await super().open(path)
        except PathNotFound:
            await self._others.pop()()
            raise


async def test_a_blob_that_is_published_between_two_looks_is_no_finding(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """Its folder is created before its bytes are published, which are intact."""
    repository = registry.repository(APP)
    folder = paths.blob(BLOB).rpartition("/")[0]
    await driver.write(f"{folder}/{paths.temporary()}", b"")
    findings, _ = await scrub(PublishedLate(driver, lambda: push_blob(repository, LAYER)))
    assert findings == []


async def test_a_blob_is_no_longer_corrupt_once_it_was_pushed_again(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """The links to it are checked later, when it is intact."""
    repository = registry.repository(APP)
    await push_image(repository, "v1")
    await corrupt(driver)
    beside, looks = BesideOthers(driver, lambda: push_blob(repository, LAYER)), list[str]()

    class Told(Findings):
        def found(self, finding: Finding) -> None:
            super().found(finding)
            looks.append(finding.kind.value)

    await Scrub(beside, Options(), Told(), NoProgress()).run()
    assert looks == ["corrupt-blob"]


class Refreshing(Around):
    """Touches a blob before each second look, as pushes that refer to it do."""

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        if change.kind == "exclusive":
            await self._inner.touch(paths.blob(BLOB))
        return await carry_out()


async def test_a_corrupt_blob_that_is_touched_repeatedly_is_found(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """Its bytes were corrupt in every attempt, although its mtime changed after each."""
    await push_image(registry.repository(APP), "v1")
    await corrupt(driver)
    findings, summary = await scrub(Refreshing(driver))
    assert findings[0].kind is Kind.CORRUPT_BLOB
    assert str(Digest.of(OTHER_BYTES)) in findings[0].what
    assert summary.errors


async def test_links_that_another_registry_s_collection_leaves_are_a_note(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """registry:2 removes bytes and keeps links; a blob that a manifest needs is still damage."""
    await push_image(registry.repository(APP), "v1")
    await push_blob(registry.repository(APP), b"unneeded")
    await driver.delete(paths.blob(Digest.of(b"unneeded")))
    findings, summary = await scrub(driver)
    assert [one.kind for one in findings] == [Kind.ORPHANED_LINK]
    assert (summary.errors, summary.notes) == (0, 1)
    await driver.delete(paths.blob(BLOB))
    findings, summary = await scrub(driver)
    assert Kind.MISSING_BLOB in [one.kind for one in findings]
    assert summary.errors == 1


async def test_a_link_that_is_deleted_meanwhile_is_not_rewritten(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """A client deletes a blob whose link is damaged; the repair does not restore it."""
    repository = registry.repository(APP)
    await push_image(repository, "v1")
    link = paths.layer_link(APP, BLOB)
    await driver.write(link, b"")
    beside = BesideOthers(driver, lambda: driver.delete(link))
    findings, _ = await scrub(beside, repair=True)
    assert Kind.DAMAGED_LINK not in [one.kind for one in findings]
    assert not await driver.exists(link)


async def test_nothing_is_removed_while_there_are_no_blobs(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """The volume of the blobs is not mounted: no link may be removed."""
    await push_image(registry.repository(APP), "v1")
    for link in (paths.layer_link(OTHER, BLOB), paths.tag_current_link(OTHER, Tag("v1"))):
        await driver.write(link, str(BLOB).encode())
    await driver.exclusively(lambda editor: editor.move(paths.BLOBS, "elsewhere"))
    findings, summary = await scrub(driver, repair=True)
    assert summary.repaired == 0
    assert (len(findings), summary.errors, summary.notes) == (5, 2, 3)
    assert all("mounted" in one.how for one in findings)
    await driver.exclusively(lambda editor: editor.move("elsewhere", paths.BLOBS))
    assert await pull_blob(StoredRegistry(driver).repository(APP), BLOB) == LAYER


async def test_unreadable_paths_are_reported_and_skipped(
    driver: AnyDriver, registry: StoredRegistry
) -> None:
    """A disk error at one path is a finding, and never means that the path is missing."""
    await push_image(registry.repository(APP), "v1")
    before = await driver.batch(lambda reader: _everything(reader, paths.ROOT))
    failing = {
        paths.blob(BLOB),
        paths.layer_link(APP, Digest.of(CONFIG)),
        paths.revision_link(APP, Digest.of(raw(image()))),
    }
    findings, _ = await scrub(FailingReads(driver, failing), repair=True)
    assert failing <= {one.path for one in findings if one.kind is Kind.UNREADABLE}
    assert {one.kind for one in findings} == {Kind.UNREADABLE}
    assert await driver.batch(lambda reader: _everything(reader, paths.ROOT)) == before


def _everything(reader: Reader, folder: str) -> list[str]:
    found = []
    for name in sorted(reader.names(folder)):
        found += [f"{folder}/{name}", *_everything(reader, f"{folder}/{name}")]
    return found


async def test_a_second_concurrent_scrub_is_refused(driver: AnyDriver) -> None:
    """The second one ends immediately; the first is not affected."""
    async with driver.claim("scrub"):
        with pytest.raises(AlreadyRunning):
            await scrub(driver)
    await scrub(driver)


class ReadOnlyDisk(Around):
    """A storage that cannot be written to, such as a mounted backup."""

    def claim(self, what: str) -> AbstractAsyncContextManager[None]:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


async def test_a_read_only_storage_is_scrubbed(driver: AnyDriver, registry: StoredRegistry) -> None:
    """Damage is reported; only a repair is refused."""
    await push_image(registry.repository(APP), "v1")
    await corrupt(driver)
    findings, summary = await scrub(ReadOnlyDisk(driver))
    assert findings[0].kind is Kind.CORRUPT_BLOB
    assert summary.errors == 3
    with pytest.raises(OSError, match="Read-only"):
        await scrub(ReadOnlyDisk(driver), repair=True)
