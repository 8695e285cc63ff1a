"""Changes that another process, or a failed request, has not synced: the next user syncs them."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from storage.drivers.changes import Appear, Put
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import APP, CONFIG, LAYER, OTHER, image, push_blob, push_manifest, raw
from tests.storage.file_operations import watch
from tests.storage.losing_disk import Disk, Recorder
from tests.storage.power_cuts import latest, losses
from tests.storage.promises import Blob, Fact, History, Manifest, Work
from tests.storage.repeating import found, left_by

pytestmark = pytest.mark.faults

DIGEST = Digest.of(raw(image()))
TAG, MOVED = Tag("new"), Tag("moved")


async def _push(registry: StoredRegistry) -> None:
    await push_manifest(registry.repository(APP), image(), TAG.text, MOVED.text)


PUSHES: Mapping[str, tuple[Work, list[Fact]]] = {
    "blob": (
        lambda registry: push_blob(registry.repository(OTHER), LAYER),
        [Blob(OTHER, Digest.of(LAYER))],
    ),
    "mount": (
        lambda registry: registry.repository(OTHER).blobs.mount(Digest.of(LAYER), APP),
        [Blob(OTHER, Digest.of(LAYER))],
    ),
    "manifest": (
        _push,
        [Manifest(APP, one) for one in (DIGEST, TAG, MOVED)]
        + [History(APP, one, DIGEST) for one in (TAG, MOVED)],
    ),
}


@pytest.fixture
def nothing_blocks() -> None:
    """Replace the detector of blocking calls: it would slow down the many reads here."""


async def _prepare(registry: StoredRegistry) -> None:
    repository = registry.repository(APP)
    for blob in (CONFIG, LAYER):
        await push_blob(repository, blob)
    await push_manifest(repository, image(annotations={"n": "0"}), MOVED.text)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", PUSHES)
async def test_what_a_repeated_push_has_acknowledged_stays(tmp_path: Path, what: str) -> None:
    """Whichever fsync of the first push failed, and whatever the disk loses after the second."""
    push, facts = PUSHES[what]
    async for how, root in left_by(tmp_path, _prepare, push):
        assert await found(root, facts) == facts, how


async def test_an_existing_folder_counts_as_unsynced(tmp_path: Path) -> None:
    """A process whose `Appear` finds an existing folder syncs the name of that."""
    recorder = Recorder(tmp_path)
    driver = FilesystemDriver(tmp_path, threads=1)
    try:
        with watch(tmp_path, lambda _: None, recorder.after):
            await driver.publish((Put("tags/other/link", b"x"),))
            os.mkdir(tmp_path / "tags/new")  # as another process does that has not synced it yet
            os.mkdir(tmp_path / "tags/new/current")
            in_the_way = await driver.publish((Appear("tags/new", {"current/link": b"ours"}),))
            assert in_the_way == ("tags/new",)
            await driver.publish((Put("tags/new/current/link", b"ours"),))
    finally:
        await driver.close()
    disk = Disk()
    for event in recorder.log:
        disk.apply(event)
    for number, left in enumerate((*latest(disk), *losses(disk, random.Random(1), samples=2))):
        root = tmp_path / f"left-{number}"
        root.mkdir()
        left.tree.put(str(root))
        assert (root / "tags/new/current/link").read_bytes() == b"ours", left.how
