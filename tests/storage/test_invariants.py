"""The invariants on disk and between processes, where only one order of steps shows a fault.

Each test steps through that order. `docs/design.md` has the table of invariants and their tests.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from storage.drivers.base import FileInfo, TouchingReader
from storage.drivers.changes import Step
from storage.drivers.filesystem import locks, staging, timestamps
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.wrapping import WrappedDriver
from storage.errors import BlobUnknown, ManifestUnknown, PathNotFound, ReferencesUnknown
from storage.maintenance.garbage import plan as planning
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.buffers import Buffer
from storage.values.digest import Digest
from storage.values.names import Tag
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
from tests.storage.damaged_pulls import age
from tests.storage.scrubbing import scrub
from tests.storage.soundness import assert_sound
from tests.storage.turnstile import PausePoint
from tests.storage.wrappers import RecordingDriver

GRACE = 60.0
BLOB = Digest.of(LAYER)
UNTAGGED = Options(GRACE, delete_untagged=True)


@pytest.fixture
def made(tmp_path: Path) -> list[FilesystemDriver]:
    """Return a function that creates the drivers of two processes."""
    return [FilesystemDriver(tmp_path, threads=4) for _ in range(2)]


@pytest.fixture
async def drivers(made: list[FilesystemDriver]) -> AsyncIterator[list[FilesystemDriver]]:
    """Yield them, and close them."""
    yield made
    for driver in made:
        await driver.close()


@pytest.fixture
def files(drivers: list[FilesystemDriver]) -> FilesystemDriver:
    """Return the first of them."""
    return drivers[0]


# 1: the bytes of a blob match its name


async def test_bytes_of_another_manifest_are_not_served(files: FilesystemDriver) -> None:
    """Even a valid manifest is no answer for another digest."""
    digest = await push_image(StoredRegistry(files).repository(APP), "v1")
    await files.write(paths.blob(digest), raw(image(annotations={"is": "another"})))
    for reference in (digest, Tag("v1")):
        with pytest.raises(ManifestUnknown):
            await StoredRegistry(files).repository(APP).manifests.get(reference)


# 2: links are written after their targets, and removed before them


async def test_a_collection_removes_links_before_their_targets(
    files: FilesystemDriver,
) -> None:
    """Manifests, indexes first; links of blobs; tag histories and referrers; then bytes."""
    repository = StoredRegistry(files).repository(APP)
    child, parent = image(), index([raw(image())])
    await push_image(repository, "moves")
    await push_manifest(repository, parent, "moves")
    await push_image(repository, "moves", layer=b"else")
    await asyncio.to_thread(age, Path(files.root))
    recording = RecordingDriver(files)
    async with planned(recording, UNTAGGED) as plan:
        await carry_out(recording, plan)
    order = [path for _, path in recording.durable()]
    listing, listed = (Digest.of(raw(one)) for one in (parent, child))
    expected = [
        {paths.revision_link(APP, listing)},
        {paths.revision_link(APP, listed)},
        {paths.layer_link(APP, BLOB)},
        {paths.tag_index_link(APP, Tag("moves"), one) for one in (listing, listed)},
        {paths.blob(one) for one in (listing, listed, BLOB)},
    ]
    places = [[order.index(path) for path in some] for some in expected]
    for before, after in pairwise(places):
        assert max(before) < min(after)


async def test_a_repaired_link_keeps_its_bytes(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrub that rewrites a link touches its target: no collection deletes it meanwhile."""
    repository = StoredRegistry(files).repository(APP)
    await push_blob(repository, LAYER)
    await files.write(paths.layer_link(APP, BLOB), b"")
    await asyncio.to_thread(age, Path(files.root))
    async with planned(files, UNTAGGED) as plan:
        await scrub(files, repair=True)
        await carry_out(files, plan)
    assert await pull_blob(repository, BLOB) == LAYER


# 3: acknowledged content is durable


class Synced:
    """Records which folders were synced, and can fail to sync one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        self._real = os.fsync
        monkeypatch.setattr(os, "fsync", self._sync)

    def _sync(self, fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        self.before(path)
        self._real(fd)
        self.paths.append(path)


@pytest.mark.parametrize("by", ["exclusively", "delete"])
async def test_a_folder_that_was_recreated_is_synced_again(
    drivers: list[FilesystemDriver], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Another process removed the durable one, and recreated it without fsync."""
    one, other = drivers
    folder = f"{paths.ROOT}/a/b"
    synced = Synced(monkeypatch)
    await one.write(f"{folder}/file", b"x")
    assert f"{one.root}/{paths.ROOT}/a" in synced.paths
    if by == "delete":
        await other.delete(folder)
    else:
        await other.exclusively(lambda editor: editor.remove(folder))
    await other.write_unsynced(f"{folder}/beside", b"x")
    synced.paths.clear()
    await one.write(f"{folder}/file", b"x")
    assert f"{one.root}/{paths.ROOT}/a" in synced.paths


async def test_a_folder_that_another_process_just_created_is_synced(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is durable, every process that writes into it syncs it before it answers."""
    held, synced = PausePoint(), Synced(monkeypatch)
    above = f"{files.root}/docker"

    def hold_first(path: str) -> None:
        if path == above and not held.is_inside:
            held.stay()

    synced.before = hold_first
    first = asyncio.ensure_future(files.write("docker/new/first", b"x"))
    await held.entered(first)
    await files.write("docker/new/second", b"x")
    assert above in synced.paths
    held.release()
    await first


# 4: damage stops nothing


@pytest.mark.parametrize("damage", [b"\xff\xfe", "sha256:ä".encode(), b"sha256:" + b"\xe9" * 64])
async def test_a_link_that_is_no_text_is_absent(files: FilesystemDriver, damage: bytes) -> None:
    """In a pull, a listing, a deletion, a search and a collection."""
    registry = StoredRegistry(files)
    repository = registry.repository(APP)
    digest = await push_image(repository, "v1", "sound")
    for link in (paths.tag_current_link(APP, Tag("v1")), paths.layer_link(APP, BLOB)):
        await files.write(link, damage)
    with pytest.raises(ManifestUnknown):
        await repository.manifests.get(Tag("v1"))
    assert await registry.holders(BLOB) == []
    await asyncio.to_thread(age, Path(files.root))
    async with planned(files, UNTAGGED) as plan:
        assert (await carry_out(files, plan)).failed == []
    assert (await repository.manifests.get(Tag("sound"))).digest == digest
    await repository.manifests.delete(digest)
    assert (await repository.tags.page("", None)).entries == ("v1",)


@pytest.mark.parametrize(
    "doomed",
    [
        paths.revision_link(APP, Digest.of(raw(image()))),
        paths.layer_link(APP, BLOB),
        paths.blob(BLOB),
        f"{paths.layers(APP)}/sha256/.tmp-{'0' * 32}",
    ],
    ids=["a manifest", "a link", "bytes", "rubbish"],
)
async def test_a_failed_removal_stops_no_collection(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, doomed: str
) -> None:
    """It is reported, its references stay, all else is deleted; the next collection removes it."""
    repository = StoredRegistry(files).repository(APP)
    other = await push_image(StoredRegistry(files).repository(OTHER), layer=b"else")
    await push_image(repository)
    await files.write_unsynced(f"{paths.layers(APP)}/sha256/.tmp-{'0' * 32}", b"x")
    await asyncio.to_thread(age, Path(files.root))
    real = os.rename

    def failing(source: str, target: str) -> None:
        if source == f"{files.root}/{doomed}":
            raise OSError(errno.EIO, os.strerror(errno.EIO), source)
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", failing)
        async with planned(files, UNTAGGED) as plan:
            swept = await carry_out(files, plan)
    assert [one.partition(":")[0] for one in swept.failed] == [doomed]
    assert await files.stat(doomed) is not None
    await assert_sound(files)
    for gone in (paths.blob(other), paths.blob(Digest.of(b"else"))):
        assert await files.stat(gone) is None
    await asyncio.to_thread(age, Path(files.root))
    async with planned(files, UNTAGGED) as plan:
        assert (await carry_out(files, plan)).failed == []
    assert await files.stat(doomed) is None


@pytest.mark.parametrize(
    ("function", "path"),
    [
        ("open", paths.tag_current_link(APP, Tag("v1"))),
        ("stat", paths.tag_current_link(APP, Tag("v1"))),
        ("stat", paths.revision_link(APP, Digest.of(raw(image())))),
        ("open", paths.blob(Digest.of(raw(image())))),
        ("stat", paths.blob(Digest.of(raw(image())))),
    ],
)
async def test_a_file_that_can_t_be_read_stops_no_collection(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, function: str, path: str
) -> None:
    """A file that can't be read, or whose `stat` fails, is reported; no bytes are deleted."""
    await push_blob(StoredRegistry(files).repository(OTHER), b"orphan")
    digest = await push_image(StoredRegistry(files).repository(APP), "v1")
    await asyncio.to_thread(age, Path(files.root))
    with monkeypatch.context() as patched:
        patched.setattr(os, function, _failing(getattr(os, function), path))
        async with planned(files, UNTAGGED) as plan:
            assert path in {one.path for one in plan.coverage.trouble}
            swept = await carry_out(files, plan)
    assert swept.blobs == 0
    await assert_sound(files)
    assert (await StoredRegistry(files).repository(APP).manifests.get(Tag("v1"))).digest == digest


def _failing(real: Callable[..., Any], end: str) -> Callable[..., Any]:
    def call(path: Any, *more: Any, **named: Any) -> Any:
        if str(path).endswith(end):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, *more, **named)

    return call


# 5: membership is checked each time


async def test_a_cached_answer_belongs_to_one_repository(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another repository does not have what this one has under the same tag or digest."""
    monkeypatch.setattr(timestamps, "SETTLED_NS", 0)
    registry = StoredRegistry(files)
    digest = await push_image(registry.repository(APP), "v1")
    for reference in (digest, Tag("v1")):
        for _ in range(3):
            assert (await registry.repository(APP).manifests.get(reference)).digest == digest
        with pytest.raises(ManifestUnknown):
            await registry.repository(OTHER).manifests.get(reference)


class Meanwhile(WrappedDriver):
    """Acts just before a publication."""

    def __init__(self, inner: FilesystemDriver, link: str) -> None:
        super().__init__(inner)
        self._link = link

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        """Remove a link, and publish."""
        await self._inner.exclusively(lambda editor: editor.remove(self._link))
        return await self._inner.publish(*steps, check=check)


async def test_a_mount_checks_the_source_when_it_is_published(files: FilesystemDriver) -> None:
    """Not when it was requested."""
    await push_blob(StoredRegistry(files).repository(OTHER), LAYER)
    driver = Meanwhile(files, paths.layer_link(OTHER, BLOB))
    with pytest.raises(BlobUnknown):
        await StoredRegistry(driver).repository(APP).blobs.mount(BLOB, OTHER)
    assert await StoredRegistry(files).holders(BLOB) == []


async def test_children_have_to_be_members(files: FilesystemDriver) -> None:
    """An index is not stored over a manifest that only another repository has."""
    registry = StoredRegistry(files)
    digest = await push_image(registry.repository(OTHER))
    with pytest.raises(ReferencesUnknown) as refused:
        await push_manifest(registry.repository(APP), index([raw(image())]), "v1")
    assert refused.value.missing == (digest,)


# 6: locks are the filesystem's


class Swapping:
    """Replaces `fcntl`: acts before a lock is taken for the first time."""

    LOCK_EX = fcntl.LOCK_EX
    LOCK_NB = fcntl.LOCK_NB

    def __init__(self, swap: Callable[[], None]) -> None:
        self._swap: Callable[[], None] | None = swap

    def flock(self, fd: int, operation: int) -> None:
        """Lock."""
        swap, self._swap = self._swap, None
        if swap is not None:
            swap()
        fcntl.flock(fd, operation)


async def test_a_lock_is_on_the_folder_at_its_path(
    drivers: list[FilesystemDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on one that was removed and replaced while it was being locked."""
    await drivers[0].write("tag/link", b"old")
    folder = Path(drivers[0].root, "tag")

    def swap() -> None:
        folder.rename(folder.with_name("gone"))
        folder.mkdir()

    monkeypatch.setattr(locks, "fcntl", Swapping(swap))
    monkeypatch.setattr(locks, "_PATIENCE", 0.1)
    async with drivers[0].lock("tag"):
        with pytest.raises(TimeoutError):
            async with drivers[1].lock("tag"):
                raise AssertionError("both hold it")


def _ignore(_: Buffer) -> None:
    """Do nothing."""


async def test_a_locked_session_is_the_one_at_its_path(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one that was adopted meanwhile: appending to it would change a blob."""
    await files.staging.create("u/data", {})
    data = Path(files.root, "u/data")

    def adopt() -> None:
        data.rename(data.with_name("adopted"))
        data.touch()

    monkeypatch.setattr(staging, "fcntl", Swapping(adopt))
    with pytest.raises(PathNotFound):
        async with files.staging.open("u/data"):
            raise AssertionError("what is no longer there was held")


# Collections


@pytest.mark.parametrize("is_remembered", [False, True])
async def test_a_manifest_that_was_requested_by_digest_stays(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, is_remembered: bool
) -> None:
    """The client may leave it out of a push, so a cached answer touches it, too."""
    monkeypatch.setattr(timestamps, "SETTLED_NS", 0)
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr("storage.repository.repository.time", clock)
    repository = StoredRegistry(files, grace=GRACE).repository(APP)
    digest = await push_image(repository)
    if is_remembered:
        for _ in range(3):
            await repository.manifests.get(digest)
    # Its links are unchanged, because cached answers depend on them.
    await asyncio.to_thread(age, Path(files.root, paths.BLOBS))
    now[0] += GRACE
    async with planned(files, UNTAGGED) as plan:
        await repository.manifests.get(digest)
        await carry_out(files, plan)
    await push_manifest(repository, index([raw(image())]), "v1")
    await assert_sound(files)


async def test_content_with_an_ambiguous_mtime_stays(
    files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short the grace period: two touches within a tick of the clock look like one."""
    monkeypatch.setattr(planning, "SHORTEST_GRACE_NS", 1 << 62)
    repository = StoredRegistry(files).repository(APP)
    await push_blob(repository, LAYER)
    async with planned(files, Options(grace=-3600)) as plan:
        assert (await carry_out(files, plan)).blobs == 0
    assert await pull_blob(repository, BLOB) == LAYER


async def test_an_unreadable_manifest_keeps_its_repository(files: FilesystemDriver) -> None:
    """It may have been an index that lists the others, or their subject."""
    repository = StoredRegistry(files).repository(APP)
    beside = await push_image(repository)
    damaged = await push_image(repository, "v1", annotations={"is": "damaged"})
    await files.write(paths.blob(damaged), b"damaged")
    await asyncio.to_thread(age, Path(files.root))
    async with planned(files, UNTAGGED) as plan:
        swept = await carry_out(files, plan)
    assert (swept.manifests, swept.links, swept.blobs) == (0, 0, 0)
    assert (await repository.manifests.get(beside)).digest == beside
    for content in (CONFIG, LAYER):
        assert await pull_blob(repository, Digest.of(content)) == content


class MeanwhileTouched(WrappedDriver):
    """Removes a link just before its content is touched."""

    def __init__(self, inner: FilesystemDriver, link: str) -> None:
        super().__init__(inner)
        self._link = link

    async def touch(self, path: str) -> FileInfo | None:
        """Remove the link, and touch."""
        await self._inner.exclusively(lambda editor: editor.remove(self._link))
        return await self._inner.touch(path)


async def test_content_that_a_collection_deletes_meanwhile_is_not_reported(
    files: FilesystemDriver,
) -> None:
    """An answer that something exists comes only when no collection removes its link any more."""
    digest = await push_image(StoredRegistry(files).repository(APP))
    await asyncio.to_thread(age, Path(files.root))
    driver = MeanwhileTouched(files, paths.layer_link(APP, BLOB))
    with pytest.raises(BlobUnknown):
        await StoredRegistry(driver).repository(APP).blobs.size(BLOB)
    driver = MeanwhileTouched(files, paths.revision_link(APP, digest))
    with pytest.raises(ManifestUnknown):
        await StoredRegistry(driver).repository(APP).manifests.get(digest)


async def test_young_manifests_stay_without_a_tag(files: FilesystemDriver) -> None:
    """A client may be about to push the index, or the tag, that leads to them."""
    repository = StoredRegistry(files).repository(APP)
    digest = await push_image(repository)
    async with planned(files, UNTAGGED) as plan:
        assert (await carry_out(files, plan)).manifests == 0
    assert (await repository.manifests.get(digest)).digest == digest


async def test_a_sha512_blob_that_distribution_stored_stays(files: FilesystemDriver) -> None:
    """Its bytes are stored under their sha256, which no manifest names: its link does."""
    repository = StoredRegistry(files).repository(APP)
    named = Digest.of(LAYER, "sha512")
    await push_blob(repository, CONFIG)
    await files.write(paths.blob(BLOB), LAYER)
    await files.write(paths.layer_link(APP, named), str(BLOB).encode())
    layer = {**entry(LAYER), "digest": str(named)}
    await push_manifest(repository, {**image(), "layers": [layer]}, "v1")
    await asyncio.to_thread(age, Path(files.root))
    async with planned(files, UNTAGGED) as plan:
        assert (await carry_out(files, plan)).blobs == 0
    assert await pull_blob(repository, named) == LAYER
