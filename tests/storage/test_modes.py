"""Wrapped registries refuse operations that the configuration disables, and pass on the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from storage.errors import OperationDisabled
from storage.interfaces import Registry, Repository
from storage.repository.modes import ReadOnlyRegistry, UndeletableRegistry
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from storage.values.manifests import parse_manifest
from storage.values.names import Tag, UploadId
from tests.storage.content import (
    APP,
    LAYER,
    OTHER,
    append,
    begin,
    finish,
    image,
    pull_blob,
    push_image,
    raw,
    tags,
)
from tests.storage.wrappers import RecordingDriver
from tests.support.drivers import AnyDriver

Attempt = Callable[[Repository, UploadId], Awaitable[object]]
DIGEST = Digest.of(raw(image()))
MANIFEST = parse_manifest(raw(image()))

DELETING: dict[str, Attempt] = {
    "blob": lambda repository, _: repository.blobs.delete(Digest.of(LAYER)),
    "manifest": lambda repository, _: repository.manifests.delete(DIGEST),
    "tag": lambda repository, _: repository.tags.delete(Tag("v1")),
}
WRITING: dict[str, Attempt] = {
    "mount": lambda repository, _: repository.blobs.mount(Digest.of(LAYER), OTHER),
    "put": lambda repository, _: repository.manifests.put(MANIFEST, DIGEST, tags("v2")),
    "start": lambda repository, _: repository.uploads.start("sha256"),
    "append": lambda repository, upload: append(repository, upload, b"x"),
    "commit": lambda repository, upload: finish(repository, upload, Digest.of(b"abc")),
    "cancel": lambda repository, upload: repository.uploads.cancel(upload),
}
CHANGING = {
    "blobs": {"mount", "delete"},
    "manifests": {"put", "delete"},
    "tags": {"delete"},
    "uploads": {"start", "open", "cancel"},
    "referrers": set(),
}


@pytest.fixture
def recording(driver: AnyDriver) -> RecordingDriver:
    """Give each driver in turn, with its changes recorded."""
    return RecordingDriver(driver)


async def _prepare(recording: RecordingDriver) -> tuple[StoredRegistry, UploadId]:
    registry = StoredRegistry(recording)
    await push_image(registry.repository(APP), "v1")
    await push_image(registry.repository(OTHER), "v1")
    id = await begin(registry.repository(APP), b"abc")
    recording.changes.clear()
    return registry, id


@pytest.mark.parametrize("what", DELETING)
async def test_an_undeletable_registry_deletes_nothing(
    recording: RecordingDriver, what: str
) -> None:
    """Each way to delete is refused before anything changes."""
    registry, id = await _prepare(recording)
    with pytest.raises(OperationDisabled, match="deleting"):
        await DELETING[what](UndeletableRegistry(registry).repository(APP), id)
    assert recording.changes == []


@pytest.mark.parametrize("what", WRITING)
async def test_an_undeletable_registry_is_pushed_to(recording: RecordingDriver, what: str) -> None:
    """Adding content and cancelling an upload work."""
    registry, id = await _prepare(recording)
    await WRITING[what](UndeletableRegistry(registry).repository(APP), id)
    assert recording.changes != []


@pytest.mark.parametrize("what", [*DELETING, *WRITING])
async def test_a_read_only_registry_changes_nothing(recording: RecordingDriver, what: str) -> None:
    """Each way to change anything is refused before anything changes."""
    registry, id = await _prepare(recording)
    attempt = {**DELETING, **WRITING}[what]
    with pytest.raises(OperationDisabled):
        await attempt(ReadOnlyRegistry(registry).repository(APP), id)
    assert recording.changes == []


@pytest.mark.parametrize("mode", [UndeletableRegistry, ReadOnlyRegistry])
async def test_reading_is_as_without(
    recording: RecordingDriver, mode: Callable[[Registry], Registry]
) -> None:
    """Every read returns what the inner registry returns."""
    stored, id = await _prepare(recording)
    registry = mode(stored)
    repository = registry.repository(APP)
    assert repository.name == APP
    assert await pull_blob(repository, Digest.of(LAYER)) == LAYER
    assert await repository.blobs.size(Digest.of(LAYER)) == len(LAYER)
    below = stored.repository(APP).blobs
    assert await repository.blobs.locate(Digest.of(LAYER)) == await below.locate(Digest.of(LAYER))
    assert (await repository.manifests.get(Tag("v1"))).digest == DIGEST
    assert (await repository.tags.page("", None)).entries == (Tag("v1"),)
    assert (await repository.referrers.page(DIGEST, None, "", 10)).entries == ()
    assert await repository.uploads.length(id) == 3
    assert await registry.catalog("", 10) == await stored.catalog("", 10)
    assert (await registry.catalog("", 10, lambda one: one == OTHER)).entries == (OTHER,)
    assert await registry.holders(Digest.of(LAYER)) == [APP, OTHER]


def test_every_method_was_tried(new_driver: AnyDriver) -> None:
    """A method that is added to a part must be added to a table of this test."""
    repository = StoredRegistry(new_driver).repository(APP)
    reading = {"size", "open", "locate", "get", "page", "length"}
    for part, changing in CHANGING.items():
        public = {one for one in dir(getattr(repository, part)) if not one.startswith("_")}
        known = changing | (reading - {"open"} if part == "uploads" else reading)
        assert public - {"add_changes", "remove"} <= known, part
