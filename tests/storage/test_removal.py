"""The removal of a repository: atomic and durable, and nothing else is removed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import TypeVar

import pytest

from storage.drivers.base import ExclusiveEditor
from storage.drivers.wrapping import WrappedDriver
from storage.errors import (
    BlobUnknown,
    ManifestUnknown,
    ReferencesUnknown,
    RepositoryUnknown,
    UploadUnknown,
)
from storage.maintenance.usage.tally import tally
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag
from tests.storage.content import (
    APP,
    LAYER,
    OTHER,
    begin,
    entry,
    image,
    pull_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.soundness import assert_sound
from tests.storage.wrappers import Crash, CrashingDriver, RecordingDriver
from tests.support.drivers import AnyDriver

T = TypeVar("T")

BELOW = RepositoryName(f"{APP}/below")
ABOVE = RepositoryName("library")
DIGEST = Digest.of(raw(image()))


async def _assert_gone(registry: StoredRegistry) -> None:
    """Check that APP answers no request."""
    repository = registry.repository(APP)
    for reference in (DIGEST, Tag("v1")):
        with pytest.raises(ManifestUnknown):
            await repository.manifests.get(reference)
    with pytest.raises(RepositoryUnknown):
        await repository.tags.page("", None)
    for ask in (repository.blobs.size, repository.blobs.open, repository.blobs.locate):
        with pytest.raises(BlobUnknown):
            await ask(Digest.of(LAYER))
    assert (await repository.referrers.page(DIGEST, None, "", 10)).entries == ()
    assert APP not in (await registry.catalog("", 10)).entries
    assert APP not in await registry.holders(Digest.of(LAYER))


async def _push_all(registry: StoredRegistry) -> None:
    """Push everything that a repository can have to APP, and query it to fill caches."""
    repository = registry.repository(APP)
    await push_image(repository, "v1", "v2")
    await push_manifest(repository, image(layers=[], subject=entry(raw(image()))))
    await repository.manifests.get(Tag("v1"))
    await repository.manifests.get(DIGEST)
    await repository.referrers.page(DIGEST, None, "", 10)
    await repository.tags.page("", None)
    await registry.catalog("", 10)


async def test_a_repository_is_removed_completely_and_alone(
    registry: StoredRegistry, driver: AnyDriver
) -> None:
    """Manifests, tags, blobs, referrers and uploads; other repositories stay."""
    await _push_all(registry)
    for name in (ABOVE, BELOW, OTHER):
        await push_image(registry.repository(name), "v1")
    id = await begin(registry.repository(APP), b"begun")
    kept = await begin(registry.repository(BELOW), b"begun")
    await registry.remove(APP)
    await _assert_gone(registry)
    with pytest.raises(UploadUnknown):
        await registry.repository(APP).uploads.length(id)
    assert (await registry.catalog("", 10)).entries == (ABOVE, BELOW, OTHER)
    for name in (ABOVE, BELOW, OTHER):
        repository = registry.repository(name)
        assert (await repository.manifests.get(Tag("v1"))).digest == DIGEST
        assert await pull_blob(repository, Digest.of(LAYER)) == LAYER
    assert await registry.repository(BELOW).uploads.length(kept) == 5
    left = await driver.batch(lambda reader: reader.names(paths.repository(APP)))
    assert left == ["below"]
    await assert_sound(driver)


async def test_removal_leaves_no_empty_folders(registry: StoredRegistry, driver: AnyDriver) -> None:
    """The repository's folder is removed, and its parent if nothing else is in it."""
    await _push_all(registry)
    await registry.remove(APP)
    assert await driver.batch(lambda reader: reader.names(paths.REPOSITORIES)) == []
    assert await driver.exists(paths.blob(DIGEST)), "bytes are a collection's"


async def test_a_missing_repository_cannot_be_removed(registry: StoredRegistry) -> None:
    """It never existed, was removed before, or is only a folder of other repositories."""
    await push_image(registry.repository(BELOW), "v1")
    for name in (OTHER, APP, ABOVE):
        with pytest.raises(RepositoryUnknown):
            await registry.remove(name)
    await registry.remove(BELOW)
    with pytest.raises(RepositoryUnknown):
        await registry.remove(BELOW)


async def test_other_processes_detect_the_removal_immediately(driver: AnyDriver) -> None:
    """Their cached answers are not used any more."""
    asked, removing = StoredRegistry(driver), StoredRegistry(driver)
    await _push_all(asked)
    await removing.remove(APP)
    await _assert_gone(asked)
    # It can be pushed again, durably: known folders are new ones now.
    await push_image(asked.repository(APP), "v1")
    assert (await removing.repository(APP).manifests.get(Tag("v1"))).digest == DIGEST
    assert (await asked.catalog("", 10)).entries == (APP,)
    await assert_sound(driver)


async def test_a_push_without_its_layers_is_refused_afterwards(registry: StoredRegistry) -> None:
    """A client that pushed layers before is told which ones are missing."""
    await _push_all(registry)
    await registry.remove(APP)
    with pytest.raises(ReferencesUnknown):
        await push_manifest(registry.repository(APP), image(), "v1")


async def test_an_upload_in_progress_restores_no_image(
    registry: StoredRegistry,
) -> None:
    """Its commit fails, or its blob is a member; no image is restored."""
    repository = registry.repository(APP)
    await push_image(repository, "v1")
    id = await begin(repository, b"held")
    async with repository.uploads.open(id) as session:
        await registry.remove(APP)
        with suppress(UploadUnknown):
            await session.commit(Digest.of(b"held"))
            assert await pull_blob(repository, Digest.of(b"held")) == b"held"
    with pytest.raises(UploadUnknown):
        await repository.uploads.length(id)
    assert (await registry.catalog("", 10)).entries == ()


async def test_manifests_are_removed_before_their_references(driver: AnyDriver) -> None:
    """They are removed first, and durably."""
    recording = RecordingDriver(driver)
    registry = StoredRegistry(recording)
    await _push_all(registry)
    recording.changes.clear()
    await registry.remove(APP)
    gone = [path for kind, path in recording.durable() if kind == "delete"]
    assert gone[0] == paths.manifests(APP)
    assert {paths.layers(APP), paths.referrers_of_all(APP)} <= set(gone[1:])
    assert [one.kind for one in recording.changes if one.kind == "exclusive"] == []


@pytest.mark.parametrize("at", range(3))
async def test_a_repeat_finishes_what_a_crash_left(driver: AnyDriver, at: int) -> None:
    """After a crash everything left is sound, and the next attempt removes it."""
    registry = StoredRegistry(driver)
    await _push_all(registry)
    await begin(registry.repository(APP), b"begun")
    await push_image(registry.repository(OTHER), "v1")
    crashing = CrashingDriver(driver, at)
    with pytest.raises(Crash):
        await StoredRegistry(crashing).remove(APP)
    await assert_sound(driver)
    if at == 0:
        assert (await registry.repository(APP).manifests.get(Tag("v1"))).digest == DIGEST
    if at < 2:
        await registry.remove(APP)
    await _assert_gone(registry)
    assert (await registry.catalog("", 10)).entries == (OTHER,)


class _Interrupted(WrappedDriver):
    """Acts after the first of several exclusive locks."""

    def __init__(self, inner: AnyDriver, between: Callable[[], Awaitable[object]]) -> None:
        super().__init__(inner)
        self._between = between
        self.times = 0

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        """Hold the exclusive lock, then act."""
        done = await self._inner.exclusively(job)
        self.times += 1
        if self.times == 1:
            await self._between()
        return done


async def test_an_image_pushed_during_the_removal_is_removed(driver: AnyDriver) -> None:
    """Its push came before the removal was done."""
    registry = StoredRegistry(driver)
    await _push_all(registry)
    between = _Interrupted(driver, lambda: push_image(registry.repository(APP), "v1"))
    await StoredRegistry(between).remove(APP)
    assert between.times == 3, "manifests, those that came, and the rest"
    await _assert_gone(registry)
    await assert_sound(driver)


async def test_concurrent_pushes_are_before_or_after_the_removal(driver: AnyDriver) -> None:
    """Every image that is served afterwards can be pulled with all its layers."""
    registry = StoredRegistry(driver)
    repository = registry.repository(APP)
    acknowledged, tried = asyncio.Event(), asyncio.Event()
    removals = 0

    async def push(number: int) -> None:
        for attempt in count():
            if attempt >= 6 and removals >= 2:
                return
            with suppress(ReferencesUnknown, UploadUnknown):
                await push_image(repository, f"v{number}", layer=b"%d %d" % (number, attempt))
                acknowledged.set()
                if attempt >= 6:  # on a slow disk no removal would ever end
                    await tried.wait()

    async def remove() -> None:
        nonlocal removals
        while True:
            await acknowledged.wait()
            acknowledged.clear()
            with suppress(RepositoryUnknown, TimeoutError):
                await registry.remove(APP)
                removals += 1
            tried.set()
            tried.clear()

    removing = asyncio.create_task(remove())
    await asyncio.gather(*(push(number) for number in range(4)))
    removing.cancel()
    with suppress(asyncio.CancelledError):
        await removing
    assert removals
    await assert_sound(driver)
    await push_image(repository, "last")
    assert (await repository.manifests.get(Tag("last"))).digest == DIGEST


async def test_a_tally_counts_a_repository(registry: StoredRegistry, driver: AnyDriver) -> None:
    """Manifests, tags, links of blobs and uploads; nothing for a folder that is no repository."""
    await _push_all(registry)
    await begin(registry.repository(APP), b"begun")
    found = await driver.batch(lambda reader: tally(reader, APP))
    assert found is not None
    assert (found.manifests, found.tags, found.blobs, found.uploads) == (2, 2, 2, 1)
    assert await driver.batch(lambda reader: tally(reader, ABOVE)) is None
