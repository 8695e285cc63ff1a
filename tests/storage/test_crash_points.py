"""The process may end before any change, or in the middle of one: nothing is lost or dangles.

Each test crashes the same work at every one of its changes in turn, checks what is left with a new
process, and repeats the work.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest

from storage.drivers.base import Driver
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from storage.errors import ManifestUnknown, RepositoryUnknown, Unknown, UploadUnknown
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values.digest import Digest
from storage.values.names import Reference, Tag, UploadId
from storage.values.paths import TRASH
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    append,
    entry,
    finish,
    image,
    index,
    pull_blob,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.soundness import assert_sound
from tests.storage.wrappers import Change, Crash, CrashingDriver

pytestmark = pytest.mark.faults

Work: TypeAlias = Callable[[StoredRegistry], Awaitable[None]]
Tear: TypeAlias = Callable[[Change], None]
BASE = image(layers=[], annotations={"is": "the subject"})
DERIVED = image(subject=entry(raw(BASE), "application/vnd.oci.image.manifest.v1+json"))


@dataclass
class Storage:
    """An empty storage, and what an interrupted change leaves in it."""

    driver: Driver
    tear: Tear


@dataclass
class Ground:
    """Creates empty storages for one kind of driver and one kind of interruption."""

    folder: Path
    kind: str
    made: Iterator[int] = field(default_factory=itertools.count)

    def empty(self) -> Storage:
        """Create a storage; blocks."""
        if self.kind == "memory":
            return Storage(MemoryDriver(), lambda _: None)
        root = self.folder / str(next(self.made))
        root.mkdir()
        # The order of changes does not depend on fsync, whose order is another test's.
        driver = FilesystemDriver(root, sync=False, threads=2)
        return Storage(driver, _tearing(root) if self.kind == "torn files" else lambda _: None)


def _tearing(root: Path) -> Tear:
    """Leave what a process leaves that is killed in the middle of a change."""

    def tear(change: Change) -> None:
        path = root / change.path
        if change.kind in {"write", "unsynced", "adopt"}:
            path.parent.mkdir(parents=True, exist_ok=True)
        if change.kind in {"write", "unsynced"}:
            assert isinstance(change.content, bytes)
            half = change.content[: len(change.content) // 2]
            (path.parent / ".tmp-0123456789abcdef").write_bytes(half)
        if change.kind == "append":
            assert isinstance(change.content, bytes)
            with path.open("ab") as file:
                file.write(change.content[: len(change.content) // 2])
        if change.kind == "delete" and path.is_dir():
            (root / TRASH).mkdir(exist_ok=True)
            path.rename(root / TRASH / "0123456789abcdef")
        if change.kind == "discard" and path.is_dir():
            _remove_half(path)

    return tear


def _remove_half(folder: Path) -> None:
    entries = sorted(folder.iterdir())
    for path in entries[: (len(entries) + 1) // 2]:
        shutil.rmtree(path) if path.is_dir() else os.unlink(path)


@pytest.fixture(params=["memory", "files", "torn files"])
async def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Return a source of storages of one kind."""
    return Ground(tmp_path, request.param)


async def crash_everywhere(ground: Ground, prepare: Work, work: Work, after: Work) -> int:
    """Crash `work` at each of its changes; then `after` must work in a new process."""
    for at in itertools.count():
        storage = await asyncio.to_thread(ground.empty)
        crashing = CrashingDriver(storage.driver, at, storage.tear)
        try:
            await prepare(StoredRegistry(storage.driver))
            with suppress(Crash):
                await work(StoredRegistry(crashing))
            await assert_sound(storage.driver)
            await after(StoredRegistry(storage.driver))
            await assert_sound(storage.driver)
        except Exception as error:
            error.add_note(f"after a crash in place of change {at}: {crashing.crashed_at}")
            raise
        finally:
            await storage.driver.close()
        if crashing.crashed_at is None:
            return at
    raise AssertionError


async def _nothing(registry: StoredRegistry) -> None:
    """Do nothing."""


async def test_a_push_can_be_repeated(ground: Ground) -> None:
    """After a crash anywhere in a push of an image, the same push succeeds and all is served."""

    async def push(registry: StoredRegistry) -> None:
        await push_image(registry.repository(APP), "v1", "latest")

    async def push_again(registry: StoredRegistry) -> None:
        await push(registry)
        await _assert_served(registry.repository(APP), image(), "v1", "latest")
        assert (await registry.catalog("", 10)).entries == (APP,)

    assert await crash_everywhere(ground, _nothing, push, push_again) == 14


@pytest.mark.usefixtures("eager_states")
async def test_an_interrupted_upload_continues_or_is_unknown(ground: Ground) -> None:
    """After a crash anywhere in an upload its length is exact, or the session is unknown."""
    started: list[UploadId] = []
    content = bytes(range(256)) * 3

    async def upload(registry: StoredRegistry) -> None:
        started.clear()
        repository = registry.repository(APP)
        started.append(await repository.uploads.start("sha256"))
        for at in range(0, len(content), 256):
            await append(repository, started[0], content[at : at + 256])
        await finish(repository, started[0], Digest.of(content))

    async def resume(registry: StoredRegistry) -> None:
        repository = registry.repository(APP)
        try:
            held = await repository.uploads.length(started[0])
            await append(repository, started[0], content[held:])
            await finish(repository, started[0], Digest.of(content))
        except (IndexError, UploadUnknown):
            await push_blob(repository, content)
        assert await pull_blob(repository, Digest.of(content)) == content

    assert await crash_everywhere(ground, _nothing, upload, resume) > 12


async def test_a_mount_can_be_repeated(ground: Ground) -> None:
    """After a crash in a mount, the source is unchanged and the same mount succeeds."""

    async def prepare(registry: StoredRegistry) -> None:
        await push_blob(registry.repository(OTHER), LAYER)

    async def mount(registry: StoredRegistry) -> None:
        await registry.repository(APP).blobs.mount(Digest.of(LAYER), OTHER)

    async def mount_again(registry: StoredRegistry) -> None:
        assert OTHER in await registry.holders(Digest.of(LAYER))
        await mount(registry)
        assert await pull_blob(registry.repository(APP), Digest.of(LAYER)) == LAYER
        assert await registry.holders(Digest.of(LAYER)) == [APP, OTHER]

    assert await crash_everywhere(ground, prepare, mount, mount_again) == 1


async def _prepare_blobs(registry: StoredRegistry) -> None:
    repository = registry.repository(APP)
    await push_blob(repository, CONFIG)
    await push_blob(repository, LAYER)
    await push_manifest(repository, BASE, "v1")


async def test_a_manifest_push_can_be_repeated(ground: Ground) -> None:
    """A crash leaves each tag at its old or its new manifest; then the push succeeds."""

    async def put(registry: StoredRegistry) -> None:
        await push_manifest(registry.repository(APP), DERIVED, "v1", "v2")

    async def put_again(registry: StoredRegistry) -> None:
        repository = registry.repository(APP)
        assert (await repository.manifests.get(Tag("v1"))).raw in (raw(BASE), raw(DERIVED))
        await put(registry)
        await _assert_served(repository, DERIVED, "v1", "v2")
        referrers = await repository.referrers.page(Digest.of(raw(BASE)), None, "", 10)
        assert [one.digest for one in referrers.entries] == [Digest.of(raw(DERIVED))]

    assert await crash_everywhere(ground, _prepare_blobs, put, put_again) == 7


async def test_an_index_push_can_be_repeated(ground: Ground) -> None:
    """An index is never served without its children."""
    document = index([raw(BASE), raw(DERIVED)])

    async def put(registry: StoredRegistry) -> None:
        repository = registry.repository(APP)
        await push_manifest(repository, DERIVED)
        await push_manifest(repository, document, "all")

    async def put_again(registry: StoredRegistry) -> None:
        await put(registry)
        await _assert_served(registry.repository(APP), document, "all")

    assert await crash_everywhere(ground, _prepare_blobs, put, put_again) == 7


async def _prepare_tags(registry: StoredRegistry) -> None:
    await _prepare_blobs(registry)
    await push_manifest(registry.repository(APP), DERIVED, "v2", "v3")


async def test_a_tag_s_deletion_can_be_repeated(ground: Ground) -> None:
    """A crash leaves the tag or not; a second deletion removes it, and nothing else."""

    async def delete(registry: StoredRegistry) -> None:
        await registry.repository(APP).tags.delete(Tag("v2"))

    async def delete_again(registry: StoredRegistry) -> None:
        with suppress(Unknown):
            await delete(registry)
        repository = registry.repository(APP)
        assert [tag.text for tag in (await repository.tags.page("", None)).entries] == ["v1", "v3"]
        await _assert_served(repository, DERIVED, "v3")
        await push_manifest(repository, DERIVED, "v2")
        await _assert_served(repository, DERIVED, "v2", "v3")

    assert await crash_everywhere(ground, _prepare_tags, delete, delete_again) == 1


async def test_a_manifest_s_deletion_can_be_repeated(ground: Ground) -> None:
    """After a crash and a second deletion every listed tag is served."""

    async def delete(registry: StoredRegistry) -> None:
        await registry.repository(APP).manifests.delete(Digest.of(raw(DERIVED)))

    async def delete_again(registry: StoredRegistry) -> None:
        repository = registry.repository(APP)
        with suppress(ManifestUnknown):
            await delete(registry)
        for reference in (Digest.of(raw(DERIVED)), Tag("v2"), Tag("v3")):
            with pytest.raises(ManifestUnknown):
                await repository.manifests.get(reference)
        referrers = await repository.referrers.page(Digest.of(raw(BASE)), None, "", 10)
        assert referrers.entries == ()
        await _assert_served(repository, BASE, "v1")
        assert [tag.text for tag in (await repository.tags.page("", None)).entries] == ["v1"]

    assert await crash_everywhere(ground, _prepare_tags, delete, delete_again) == 2


async def test_a_deleted_manifest_s_tags_do_not_come_back(ground: Ground) -> None:
    """After any crash of a deletion, pushing the manifest under a new tag sets only that tag."""

    async def delete(registry: StoredRegistry) -> None:
        await registry.repository(APP).manifests.delete(Digest.of(raw(DERIVED)))

    async def push_again(registry: StoredRegistry) -> None:
        repository = registry.repository(APP)
        try:
            await repository.manifests.get(Digest.of(raw(DERIVED)))
        except ManifestUnknown:
            with suppress(ManifestUnknown):
                await delete(registry)
            await push_manifest(repository, DERIVED, "new")
            listed = (await repository.tags.page("", None)).entries
            assert [tag.text for tag in listed] == ["new", "v1"]

    assert await crash_everywhere(ground, _prepare_tags, delete, push_again) == 2


async def test_a_blob_s_deletion_can_be_repeated(ground: Ground) -> None:
    """A crash leaves the blob a member or not; then it can be deleted, and pushed again."""

    async def prepare(registry: StoredRegistry) -> None:
        await push_blob(registry.repository(APP), LAYER)

    async def delete(registry: StoredRegistry) -> None:
        await registry.repository(APP).blobs.delete(Digest.of(LAYER))

    async def delete_again(registry: StoredRegistry) -> None:
        with suppress(Unknown):
            await delete(registry)
        assert await registry.holders(Digest.of(LAYER)) == []
        await push_blob(registry.repository(APP), LAYER)
        assert await pull_blob(registry.repository(APP), Digest.of(LAYER)) == LAYER

    assert await crash_everywhere(ground, prepare, delete, delete_again) == 1


async def test_a_cancelled_upload_can_be_cancelled_again(ground: Ground) -> None:
    """A crash in a cancellation leaves a session that works, or none; nothing is stored."""
    ids: list[UploadId] = []

    async def prepare(registry: StoredRegistry) -> None:
        ids[:] = [await registry.repository(APP).uploads.start("sha256")]
        await append(registry.repository(APP), ids[0], LAYER)

    async def cancel(registry: StoredRegistry) -> None:
        await registry.repository(APP).uploads.cancel(ids[0])

    async def cancel_again(registry: StoredRegistry) -> None:
        with suppress(UploadUnknown):
            await cancel(registry)
        repository = registry.repository(APP)
        with pytest.raises(UploadUnknown):
            await repository.uploads.length(ids[0])
        with pytest.raises(RepositoryUnknown):
            await repository.tags.page("", None)

    assert await crash_everywhere(ground, prepare, cancel, cancel_again) == 1


async def _assert_served(
    repository: StoredRepository, document: dict[str, object], *texts: str
) -> None:
    content = raw(document)
    references: list[Reference] = [Digest.of(content), *map(Tag, texts)]
    for reference in references:
        found = await repository.manifests.get(reference)
        assert (found.raw, found.digest) == (content, Digest.of(content))
