"""Disk usage: every file is counted once, and the announced garbage is collected."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

import pytest

from storage.drivers.base import Reader
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_census import FileCensus
from storage.drivers.read_only import ReadOnlyDriver
from storage.drivers.wrapping import WrappedDriver
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.progress import Stop, Stopped
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.categories import Category, category_of
from storage.maintenance.usage.examination import Usage, usage_of
from storage.maintenance.usage.usage_database import RepositoryDiskUsage
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    begin,
    entry,
    image,
    index,
    name,
    push_blob,
    push_image,
    push_manifest,
    raw,
)

T = TypeVar("T")

GRACE = 60.0
TEMPORARY = ".tmp-0123456789abcdef0123456789abcdef"
HEX = Digest.of(LAYER).hex
UUID = "01234567-89ab-cdef-0123-456789abcdef"

Scene: TypeAlias = Callable[[FilesystemDriver, StoredRepository], Awaitable[None]]


@pytest.fixture
def made(tmp_path: Path) -> FilesystemDriver:
    """Return a driver over an empty root."""
    return FilesystemDriver(tmp_path, sync=False, threads=2)


@pytest.fixture
async def files(made: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Yield that driver and close it at the end."""
    yield made
    await made.close()


@pytest.fixture
def repository(files: FilesystemDriver) -> StoredRepository:
    """Return a repository to push to."""
    return StoredRegistry(files, grace=GRACE).repository(APP)


@asynccontextmanager
async def used(files: FilesystemDriver) -> AsyncIterator[Usage]:
    """Examine a storage."""
    async with usage_of(files, FileCensus(Path(files.root)), GRACE) as usage:
        yield usage


def age(files: FilesystemDriver) -> None:
    """Make everything on the disk older than the grace period."""
    for path in Path(files.root).rglob("*"):
        at = path.lstat().st_mtime - 2 * GRACE
        os.utime(path, (at, at), follow_symlinks=False)


def on_disk(files: FilesystemDriver) -> Amount:
    """Count the files below the root independently."""
    found = [path for path in Path(files.root).rglob("*") if path.is_file()]
    return Amount(len(found), sum(path.stat().st_size for path in found))


async def listed(usage: Usage, *, by_size: bool = False) -> list[RepositoryDiskUsage]:
    """Return the usage of each repository."""
    return await asyncio.to_thread(lambda: list(usage.database.repositories(by_size=by_size)))


async def _tagged(_: FilesystemDriver, repository: StoredRepository) -> None:
    await push_image(repository, "v1", "v2")


async def _moved_tag(_: FilesystemDriver, repository: StoredRepository) -> None:
    await push_image(repository, "v1", layer=b"old" * 100)
    await push_image(repository, "v1", layer=b"new" * 100)


async def _untagged_components(files: FilesystemDriver, repository: StoredRepository) -> None:
    child = image(layers=[LAYER])
    await push_image(repository)
    await push_manifest(repository, image(layers=[], subject=entry(raw(child))))
    await push_manifest(repository, index([raw(child)]))
    await push_image(StoredRegistry(files).repository(OTHER), "v1", layer=b"else")


async def _shared_and_untagged(files: FilesystemDriver, repository: StoredRepository) -> None:
    await push_image(repository)
    await push_image(repository, layer=b"of its own")
    await push_image(StoredRegistry(files).repository(OTHER), "v1")


async def _orphans(_: FilesystemDriver, repository: StoredRepository) -> None:
    await push_image(repository, "v1")
    await push_blob(repository, b"orphan")
    await push_blob(repository, b"other orphan", algorithm="sha512")


async def _unreadable(files: FilesystemDriver, repository: StoredRepository) -> None:
    damaged = await push_image(repository, "v1")
    await push_blob(repository, b"perhaps its layer")
    other = StoredRegistry(files).repository(OTHER)
    await push_blob(other, b"orphan")
    await push_image(other, layer=b"untagged")
    await files.write(paths.blob(damaged), b"damaged")


async def _stored_elsewhere(files: FilesystemDriver, repository: StoredRepository) -> None:
    """Store a sha512 blob as distribution does: a link to its sha256."""
    content = await push_blob(repository, LAYER)
    link = paths.layer_link(APP, Digest.of(LAYER, "sha512"))
    await files.write(link, str(content).encode())
    await push_blob(repository, CONFIG)
    layer = {**entry(LAYER), "digest": str(Digest.of(LAYER, "sha512"))}
    await push_manifest(repository, {**image(), "layers": [layer]})


async def _leftovers(files: FilesystemDriver, repository: StoredRepository) -> None:
    """Create leftovers of each category."""
    await _orphans(files, repository)
    await begin(repository, b"some of a layer")
    root = Path(files.root)
    for path in (
        paths.blob(Digest.of(LAYER)),
        paths.layer_link(APP, Digest.of(LAYER)),
        paths.tag_current_link(APP, Tag("v1")),
    ):
        (root / path).with_name(TEMPORARY).write_bytes(b"half")
        (root / path).with_name("notes.txt").write_bytes(b"mine")
    for path in (f"{paths.TRASH}/x/y", f"{paths.OURS}/quarantine/sha256/{HEX}", "lost+found/a"):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(b"z" * 10)


SCENES: dict[str, Scene] = {
    "nothing": lambda *_: _nothing(),
    "tagged": _tagged,
    "moved tag": _moved_tag,
    "untagged components": _untagged_components,
    "shared and untagged": _shared_and_untagged,
    "orphans": _orphans,
    "unreadable": _unreadable,
    "stored elsewhere": _stored_elsewhere,
    "leftovers": _leftovers,
}
scenes = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


async def _nothing() -> None:
    """Leave the root empty."""


@scenes
@pytest.mark.parametrize("old", [False, True])
async def test_the_sums_add_up(
    files: FilesystemDriver, repository: StoredRepository, scene: Scene, old: bool
) -> None:
    """The parts add up to what is on the disk, and the examination changes nothing."""
    await scene(files, repository)
    if old:
        age(files)
    before = on_disk(files)
    async with used(files) as usage:
        blobs, repositories = usage.blobs, await listed(usage)
        assert usage.total == before
        assert blobs.total == Amount(*await asyncio.to_thread(usage.database.blobs.count_and_size))
        alone = sum(one.unique for one in repositories)
        assert (blobs.needed + blobs.perhaps).size == alone + blobs.shared.size
        assert blobs.untagged.size <= blobs.needed.size
        assert all(one.size == one.unique + one.shared for one in repositories)
        assert (usage.reclaimable - usage.files.leftovers) == blobs.idle
        assert not (old and blobs.young.count)
    assert on_disk(files) == before


@scenes
@pytest.mark.parametrize("delete_untagged", [False, True])
async def test_the_announced_garbage_is_what_a_collection_frees(
    files: FilesystemDriver, repository: StoredRepository, scene: Scene, delete_untagged: bool
) -> None:
    """A collection frees the announced bytes of blobs and no others."""
    await scene(files, repository)
    age(files)
    async with used(files) as usage:
        blobs, leftovers = usage.blobs, usage.files.leftovers
    wanted = blobs.idle + blobs.untagged if delete_untagged else blobs.idle
    async with planned(files, Options(GRACE, delete_untagged=delete_untagged)) as plan:
        swept = await carry_out(files, plan)
    assert Amount(swept.blobs, swept.size) == wanted
    async with used(files) as usage:
        assert usage.blobs.idle == usage.files.leftovers == Amount()
        assert usage.blobs.total == blobs.total - wanted
    if scene is _leftovers:
        assert leftovers == Amount(4, 22)


async def test_each_repository_has_its_own_numbers(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Manifests, tags, blobs, and the bytes that no other repository needs."""
    registry = StoredRegistry(files)
    below = RepositoryName(f"{APP}/below")
    await push_image(repository, "v1", "v2")
    await push_image(repository, layer=b"of its own")
    await push_image(registry.repository(OTHER), "v1")
    await begin(registry.repository(below), b"begun")
    own = len(raw(image(layers=[b"of its own"]))) + len(b"of its own")
    common = len(LAYER) + len(CONFIG) + len(raw(image()))
    age(files)
    async with used(files) as usage:
        found = await listed(usage)
        assert found == [
            RepositoryDiskUsage(APP, 2, 2, 3, 0, own + common, own, True),
            RepositoryDiskUsage(below, 0, 0, 0, 1, 0, 0, True),
            RepositoryDiskUsage(OTHER, 1, 1, 2, 0, common, 0, True),
        ]
        by_size = [one.name for one in await listed(usage, by_size=True)]
        assert by_size == [APP, OTHER, below]
        assert await asyncio.to_thread(usage.database.repository, OTHER) == found[2]
        assert await asyncio.to_thread(usage.database.repository, name("library")) is None
        assert usage.blobs.shared == Amount(3, common)
        assert usage.blobs.untagged.size == own


async def test_why_the_rest_is_kept(files: FilesystemDriver, repository: StoredRepository) -> None:
    """Needed, young, and maybe needed by unreadable manifests are counted apart."""
    await _unreadable(files, repository)
    age(files)
    await push_blob(repository, b"young")
    async with used(files) as usage:
        blobs = usage.blobs
        unreadable = await files.batch(lambda _: list(usage.database.marks.unreadable()))
        assert unreadable == [(APP, Digest.of(raw(image())))]
        assert blobs.idle == Amount(1, len(b"orphan"))
        assert [one.readable for one in await listed(usage)] == [False, True]
        # Its manifest is lost and may have named everything that the repository links.
        perhaps = [LAYER, b"perhaps its layer", b"young"]
        assert blobs.perhaps == Amount(3, sum(map(len, perhaps)))
        assert blobs.young == blobs.held_back == Amount()
    await push_blob(StoredRegistry(files).repository(OTHER), b"young too")
    async with used(files) as usage:
        assert usage.blobs.young == Amount(1, len(b"young too"))


async def test_an_unreadable_part_holds_back_all_garbage(
    files: FilesystemDriver, repository: StoredRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, the rest is counted, and no blob is announced as garbage."""
    await push_blob(repository, b"orphan")
    await push_image(StoredRegistry(files).repository(OTHER), "v1")
    age(files)
    hidden = f"{paths.revisions(OTHER)}/sha256"
    opening, scanning = os.open, os.scandir

    def failing(path: str, flags: int, mode: int = 0o777) -> int:
        _fail_at(path)
        return opening(path, flags, mode)

    def failing_scan(path: str | int) -> object:
        _fail_at(path)
        return scanning(path)

    def _fail_at(path: str | int) -> None:
        if path == f"{files.root}/{hidden}":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", failing)
    monkeypatch.setattr(os, "scandir", failing_scan)
    async with used(files) as usage:
        assert [tuple(one) for one in usage.coverage.trouble] == [(hidden, "Input/output error")]
        assert usage.blobs.idle == usage.blobs.untagged == Amount()
        # Its manifest cannot be found, so what it needs is unknown.
        assert usage.blobs.held_back == usage.blobs.total


async def test_uploads_in_progress(files: FilesystemDriver, repository: StoredRepository) -> None:
    """Their number and bytes, and since when the oldest is idle."""
    id = await begin(repository, b"begun long ago")
    age(files)
    await files.write_unsynced(paths.upload_started(APP, id), b"2001-02-03T04:05:06Z")
    os.utime(Path(files.root) / paths.upload_started(APP, id), (1e9, 1e9))
    data = Path(files.root) / paths.upload_data(APP, id)
    for path in (data, data.parent):
        os.utime(path, (1e9, 1e9))
    await begin(StoredRegistry(files).repository(OTHER), b"just begun")
    async with used(files) as usage:
        assert (usage.uploads.sessions, usage.uploads.oldest) == (2, 1e9)
        found = Path(files.root).rglob("_uploads/**/*")
        size = sum(path.stat().st_size for path in found if path.is_file())
        assert usage.files.amounts[Category.UPLOAD].size == size > len(b"begun long agojust begun")


async def test_symbolic_links_are_not_followed(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A loop in foreign folders ends, and no file counts twice; moved blobs count."""
    await push_image(repository, "v1")
    root = Path(files.root)
    (root / "foreign").mkdir()
    (root / "foreign" / "file").write_bytes(b"12345")
    for number in range(3):
        (root / "foreign" / f"loop{number}").symlink_to(".")
    before = on_disk(files)
    (root / paths.BLOBS).rename(root / "moved")
    (root / paths.BLOBS).symlink_to(root / "moved")
    async with used(files) as usage:
        assert usage.blobs.total.count == 3
        foreign = usage.files.amounts[Category.FOREIGN]
        assert foreign == Amount(1, 5) + usage.blobs.total
        assert usage.total == before + usage.blobs.total


async def test_a_repository_removed_meanwhile_is_no_error(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Depending on the step it is missing from the list or listed with old counts."""
    root = Path(files.root)
    steps, at = 1, 0
    while at < steps:
        await push_image(repository, "v1")
        await push_image(StoredRegistry(files).repository(OTHER), "v1")
        vanishing = _Vanishing(files, root / paths.repository(OTHER), at)
        async with usage_of(vanishing, FileCensus(root), GRACE) as usage:
            assert usage.coverage.trouble == ()
            assert APP in [one.name for one in await listed(usage)]
            assert usage.total.size > len(LAYER)
        assert vanishing.is_done
        steps, at = vanishing.steps, at + 1
    assert steps > 5


class _Vanishing(WrappedDriver):
    """Deletes a folder just before one of the jobs that read."""

    def __init__(self, inner: FilesystemDriver, folder: Path, at: int) -> None:
        super().__init__(inner)
        self._folder = folder
        self._at = at
        self.steps = 0
        self.is_done = False

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Run `job`, perhaps a moment too late."""
        if self.steps == self._at:
            await asyncio.to_thread(shutil.rmtree, self._folder)
            self.is_done = True
        self.steps += 1
        return await super().batch(job)


async def test_a_read_only_volume_can_be_examined(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """The examination only reads: no claim, no file, no lock."""
    await _leftovers(files, repository)
    census = FileCensus(Path(files.root))
    async with used(files) as usage, usage_of(ReadOnlyDriver(files), census, GRACE) as read:
        assert read.total == usage.total
        assert read.blobs == usage.blobs


async def test_a_requested_stop_ends_the_examination(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """It raises `Stopped`, without a result."""
    await push_image(repository, "v1")
    stop = Stop()
    stop.request()
    with pytest.raises(Stopped):
        async with usage_of(files, FileCensus(Path(files.root)), GRACE, stop=stop):
            raise AssertionError("nothing was to come of it")


@pytest.mark.parametrize(
    ("path", "category"),
    [
        (paths.blob(Digest.of(LAYER)), Category.BLOB),
        (paths.blob(Digest.of(LAYER, "sha512")), Category.BLOB),
        (f"{paths.BLOBS}/sha256/00/{HEX}/data", Category.FOREIGN),
        (f"{paths.BLOBS}/sha256/{HEX[:2]}/{HEX}/data/x", Category.FOREIGN),
        (f"{paths.BLOBS}/sha256/{HEX[:2]}/{HEX}/{TEMPORARY}", Category.TEMPORARY),
        (f"{paths.BLOBS}/sha256/{HEX[:2]}/{TEMPORARY}", Category.TEMPORARY),
        (f"{paths.BLOBS}/{TEMPORARY}", Category.FOREIGN),
        (paths.layer_link(APP, Digest.of(LAYER)), Category.LINK),
        (paths.revision_link(APP, Digest.of(LAYER, "sha512")), Category.LINK),
        (paths.tag_current_link(APP, Tag("v1")), Category.LINK),
        (paths.tag_current_link(APP, Tag("-no-tag")), Category.FOREIGN),
        (paths.tag_index_link(APP, Tag("v1"), Digest.of(LAYER)), Category.LINK),
        (paths.referrer_link(APP, Digest.of(LAYER), Digest.of(LAYER)), Category.LINK),
        (paths.referrer_descriptor(APP, Digest.of(LAYER), Digest.of(LAYER)), Category.LINK),
        (paths.referrers_scanned(APP), Category.LINK),
        (f"{paths.layers(APP)}/sha256/{HEX}/{TEMPORARY}", Category.TEMPORARY),
        (f"{paths.layers(APP)}/sha256/{HEX}/link.bak", Category.FOREIGN),
        (f"{paths.tags(APP)}/{TEMPORARY}/current/link", Category.TEMPORARY),
        (f"{paths.uploads(APP)}/{UUID}/data", Category.UPLOAD),
        (f"{paths.uploads(APP)}/{UUID}/hashstates/sha256/0", Category.UPLOAD),
        (f"{paths.uploads(APP)}/{UUID}", Category.FOREIGN),
        (f"{paths.uploads(APP)}/x/data", Category.FOREIGN),
        (f"{paths.repository(APP)}/{TEMPORARY}", Category.TEMPORARY),
        (f"{paths.repository(APP)}/README", Category.FOREIGN),
        (f"{paths.REPOSITORIES}/Not A Name/_layers/sha256/{HEX}/link", Category.FOREIGN),
        (f"{paths.REPOSITORIES}/_layers/sha256/{HEX}/link", Category.FOREIGN),
        (f"{paths.TRASH}/0/data", Category.TRASH),
        (f"{paths.OURS}/quarantine/sha256/{HEX}", Category.QUARANTINE),
        (paths.CLOCK, Category.OWN),
        ("scheduler-state.json", Category.FOREIGN),
        ("docker/registry/v2/x", Category.FOREIGN),
    ],
)
def test_the_category_follows_from_the_path(path: str, category: Category) -> None:
    """Every path with a meaning, and similar paths without one."""
    assert category_of(path) is category
