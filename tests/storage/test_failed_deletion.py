"""A deletion that fails at an fsync, and is repeated: what it reports as deleted stays deleted.

The repeated deletion finds nothing to remove. Whatever it answers, a power failure after it must
not restore what the client takes for deleted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from storage.values.paths import TRASH
from tests.storage.content import APP, CONFIG, LAYER, image, push_blob, push_manifest, raw
from tests.storage.promises import Blob, Fact, Listed, Manifest, Work
from tests.storage.repeating import found, left_by

pytestmark = pytest.mark.faults

DIGEST = Digest.of(raw(image()))
TAG = Tag("v1")
TAGGED: list[Fact] = [Manifest(APP, TAG), Listed(APP, TAG)]

DELETIONS: Mapping[str, tuple[Work, list[Fact]]] = {
    "tag": (lambda registry: registry.repository(APP).tags.delete(TAG), TAGGED),
    "manifest": (
        lambda registry: registry.repository(APP).manifests.delete(DIGEST),
        [Manifest(APP, DIGEST), *TAGGED],
    ),
    "blob": (
        lambda registry: registry.repository(APP).blobs.delete(Digest.of(LAYER)),
        [Blob(APP, Digest.of(LAYER))],
    ),
    "repository": (
        lambda registry: registry.remove(APP),
        [Manifest(APP, DIGEST), Blob(APP, Digest.of(LAYER)), *TAGGED],
    ),
}


@pytest.fixture
def nothing_blocks() -> None:
    """Replace the detector of blocking calls: it would slow down the many reads here."""


async def _prepare(registry: StoredRegistry) -> None:
    """Push what is to be deleted, and more, so that only its own folder becomes empty."""
    repository = registry.repository(APP)
    for blob in (CONFIG, LAYER):
        await push_blob(repository, blob)
    await push_manifest(repository, image(), TAG.text)
    await push_manifest(repository, image(annotations={"stays": "yes"}), "v2")


@pytest.mark.parametrize("what", DELETIONS)
async def test_what_a_repeated_deletion_finds_missing_stays_missing(
    tmp_path: Path, what: str
) -> None:
    """Whichever fsync failed, and whatever the disk loses then."""
    delete, facts = DELETIONS[what]
    async for how, root in left_by(tmp_path, _prepare, delete):
        assert not await found(root, facts), how


@pytest.mark.parametrize("refusal", [errno.EXDEV, errno.ENOSPC])
async def test_a_tag_is_deleted_atomically_without_the_trash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    """On another filesystem, or where no entry can be added to the trash."""
    rename = os.rename

    def refuse(source: str, target: str) -> None:
        if f"/{TRASH}/" in target:
            raise OSError(refusal, os.strerror(refusal))
        rename(source, target)

    driver = FilesystemDriver(tmp_path, sync=False, threads=2)
    registry = StoredRegistry(driver)
    await _prepare(registry)
    monkeypatch.setattr(os, "rename", refuse)
    await registry.repository(APP).tags.delete(TAG)
    page = await registry.repository(APP).tags.page("", None)
    assert [str(tag) for tag in page.entries] == ["v2"]
    assert sorted(os.listdir(tmp_path / paths.tags(APP))) == ["v2"]
    await driver.close()
