"""Garbage collection removes unreferenced content and keeps everything else."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import AlreadyRunning, BlobUnknown, ManifestUnknown
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.last_collection import seconds_since_last
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.sweep.content_sweep import Swept
from storage.repository.registry import StoredRegistry
from storage.repository.repository import StoredRepository
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifest_policy import IndexChildren, ManifestPolicy
from storage.values.names import Tag
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    begin,
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
from tests.support.tree import snapshot

GRACE = 60.0
UNTAGGED = Options(GRACE, delete_untagged=True)
TAGGED_OR_NOT = Options(GRACE)


@pytest.fixture
def drivers(tmp_path: Path) -> tuple[FilesystemDriver, FilesystemDriver]:
    """Return the drivers of two processes."""
    one, other = (FilesystemDriver(tmp_path, sync=False, threads=2) for _ in range(2))
    return one, other


@pytest.fixture
async def files(
    drivers: tuple[FilesystemDriver, FilesystemDriver],
) -> AsyncIterator[FilesystemDriver]:
    """Yield a driver whose files `age` can make older."""
    yield drivers[0]
    for driver in drivers:
        await driver.close()


@pytest.fixture
def repository(files: FilesystemDriver) -> StoredRepository:
    """Return a repository opened by a new process."""
    return StoredRegistry(files, grace=GRACE).repository(APP)


def age(files: FilesystemDriver, seconds: float = 2 * GRACE) -> None:
    """Set the mtimes of everything on the disk into the past."""
    for folder, _, names in os.walk(files.root, topdown=False):
        for path in (*(os.path.join(folder, name) for name in names), folder):
            at = os.stat(path).st_mtime - seconds
            os.utime(path, (at, at))


async def collect(files: FilesystemDriver, options: Options = TAGGED_OR_NOT) -> Swept:
    """Plan and carry out a collection."""
    async with planned(files, options) as plan:
        return await carry_out(files, plan)


def left(files: FilesystemDriver) -> set[str]:
    """Return every file in the tree and every empty folder."""
    tree = snapshot(Path(files.root))
    above = {path.rpartition("/")[0] for path in tree}
    return {path for path in tree if path not in above and path != "."}


async def test_an_unreferenced_blob_is_removed_with_its_link(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A blob without a manifest is removed once it is old; an image beside it is kept."""
    await push_image(repository, "v1")
    before = left(files)
    orphan = await push_blob(repository, b"orphan")
    assert (await collect(files)).blobs == 0
    age(files)
    swept = await collect(files)
    assert (swept.blobs, swept.links, swept.size, swept.manifests) == (1, 1, 6, 0)
    with pytest.raises(BlobUnknown):
        await repository.blobs.size(orphan)
    assert left(files) == before
    await assert_sound(files)


async def test_the_space_of_a_deleted_image_is_freed(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """After the last manifest is deleted and the grace period ends, nothing is left."""
    digest = await push_image(repository, "v1", "v2")
    await repository.manifests.delete(digest)
    age(files)
    await collect(files)
    age(files)
    swept = await collect(files)
    assert swept.failed == []
    assert left(files) <= {"blobs", "repositories"}


async def test_untagged_manifests_are_kept_by_default(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A moved tag leaves its old manifest, which only `delete_untagged` removes."""
    old = await push_image(repository, "v1", layer=b"old")
    new = await push_image(repository, "v1", layer=b"new")
    age(files)
    assert (await collect(files)).manifests == 0
    assert await pull_blob(repository, Digest.of(b"old")) == b"old"
    age(files)
    swept = await collect(files, UNTAGGED)
    assert (swept.manifests, swept.blobs) == (1, 2)
    with pytest.raises(ManifestUnknown):
        await repository.manifests.get(old)
    assert (await repository.manifests.get(Tag("v1"))).digest == new
    assert await pull_blob(repository, Digest.of(b"new")) == b"new"
    await assert_sound(files)
    history = paths.tag_index_link(APP, Tag("v1"), old)
    assert await files.stat(history) is None


async def test_everything_reachable_from_a_tag_is_kept(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Children of a tagged index, their signatures, and signatures of signatures are kept."""
    child = image(layers=[LAYER])
    await push_image(repository)
    await push_manifest(repository, index([raw(child)]))
    nested = index([raw(index([raw(child)]))])
    await push_manifest(repository, nested, "all")
    signature = image(layers=[], subject=entry(raw(child)))
    await push_manifest(repository, signature)
    await push_manifest(repository, image(layers=[], subject=entry(raw(signature))))
    untagged = await push_image(repository, layer=b"untagged")
    age(files)
    swept = await collect(files, UNTAGGED)
    assert (swept.manifests, swept.blobs) == (1, 2)
    with pytest.raises(ManifestUnknown):
        await repository.manifests.get(untagged)
    page = await repository.referrers.page(Digest.of(raw(child)), None, "", 10)
    assert [one.digest for one in page.entries] == [Digest.of(raw(signature))]
    await assert_sound(files)


async def test_a_component_is_removed_as_a_whole(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """An untagged index is removed with its children and their signatures."""
    child = image(layers=[LAYER])
    await push_image(repository)
    await push_manifest(repository, image(layers=[], subject=entry(raw(child))))
    await push_manifest(repository, index([raw(child)]))
    age(files)
    assert (await collect(files, UNTAGGED)).manifests == 3
    age(files)
    await collect(files)
    assert left(files) <= {"blobs", "repositories"}


async def test_a_child_with_a_tag_of_its_own_outlives_an_index_without_one(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Removing an index keeps a child or referrer that is reachable from a tag."""
    child = await push_image(repository, "v1")
    listing = index([raw(image(layers=[LAYER]))])
    await push_manifest(repository, listing)
    signature = image(layers=[], subject=entry(raw(listing)))
    await push_manifest(repository, signature, "signature")
    age(files)
    swept = await collect(files, UNTAGGED)
    assert swept.manifests == 1
    assert (await repository.manifests.get(Tag("v1"))).digest == child
    assert (await repository.manifests.get(Tag("signature"))).raw == raw(signature)
    assert await pull_blob(repository, Digest.of(LAYER)) == LAYER


async def test_a_push_after_the_plan_keeps_the_image_and_what_it_retains(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A push between plan and sweep keeps layers, children and signatures."""
    child = image(layers=[LAYER])
    listing = index([raw(child)])
    await push_image(repository)
    await push_manifest(repository, image(layers=[], subject=entry(raw(child))))
    await push_manifest(repository, listing)
    gone = await push_image(repository, layer=b"really unused")
    age(files)
    async with planned(files, UNTAGGED) as plan:
        await push_manifest(repository, listing, "saved")
        swept = await carry_out(files, plan)
    assert (swept.manifests, swept.blobs) == (1, 2)
    with pytest.raises(ManifestUnknown):
        await repository.manifests.get(gone)
    assert (await repository.manifests.get(Tag("saved"))).raw == raw(listing)
    assert await pull_blob(repository, Digest.of(LAYER)) == LAYER
    page = await repository.referrers.page(Digest.of(raw(child)), None, "", 10)
    assert len(page.entries) == 1
    await assert_sound(files)


@pytest.mark.parametrize("use", ["push", "mount", "head", "manifest"])
async def test_a_blob_checked_after_the_plan_is_kept(
    files: FilesystemDriver, repository: StoredRepository, use: str
) -> None:
    """A client that was told that a blob exists can push a manifest that names it."""
    await push_image(repository, layer=b"else")
    digest = await push_blob(repository, LAYER)
    age(files)
    async with planned(files, UNTAGGED) as plan:
        if use == "push":
            await push_blob(repository, LAYER)
        elif use == "mount":
            await StoredRegistry(files).repository(OTHER).blobs.mount(digest, APP)
        elif use == "head":
            await repository.blobs.size(digest)
        else:
            await push_manifest(repository, image(), "v1")
        await carry_out(files, plan)
    assert await pull_blob(repository, digest) == LAYER
    if use == "mount":
        assert await pull_blob(StoredRegistry(files).repository(OTHER), digest) == LAYER


async def test_the_age_of_a_blob_counts_from_the_commit(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """The time at which its bytes arrived does not matter."""
    id = await begin(repository, LAYER)
    age(files)
    await finish(repository, id, Digest.of(LAYER))
    assert (await collect(files)).blobs == 0
    assert await pull_blob(repository, Digest.of(LAYER)) == LAYER


async def test_an_unneeded_link_is_removed_although_another_repository_needs_the_blob(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """The blob is no longer a member of this repository; its bytes are kept."""
    other = StoredRegistry(files).repository(OTHER)
    await push_image(other, "v1")
    await push_blob(repository, LAYER)
    age(files)
    swept = await collect(files)
    assert (swept.links, swept.blobs) == (1, 0)
    with pytest.raises(BlobUnknown):
        await repository.blobs.size(Digest.of(LAYER))
    assert await pull_blob(other, Digest.of(LAYER)) == LAYER


async def test_a_second_collection_is_refused(
    files: FilesystemDriver, drivers: tuple[FilesystemDriver, FilesystemDriver]
) -> None:
    """It raises `AlreadyRunning`, also in another process."""
    async with planned(files, TAGGED_OR_NOT):
        for driver in drivers:
            with pytest.raises(AlreadyRunning):
                await collect(driver)
    await collect(drivers[1])


async def test_an_unreadable_manifest_keeps_its_whole_repository(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """What it named is unknown, so everything in the repository may be needed."""
    damaged = await push_image(repository, "v1")
    await push_blob(repository, b"perhaps its layer")
    other = StoredRegistry(files).repository(OTHER)
    await push_blob(other, b"orphan")
    await files.write(paths.blob(damaged), b"damaged")
    age(files)
    async with planned(files, UNTAGGED) as plan:
        assert await files.batch(lambda _: list(plan.database.marks.unreadable())) == [
            (APP, damaged)
        ]
        swept = await carry_out(files, plan)
    assert (swept.manifests, swept.blobs) == (0, 1)
    assert await pull_blob(repository, Digest.of(b"perhaps its layer"))


async def test_an_unreadable_part_of_the_tree_keeps_all_blobs(
    files: FilesystemDriver, repository: StoredRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifests may need any blob."""
    await push_blob(repository, b"orphan")
    await push_image(StoredRegistry(files).repository(OTHER), "v1")
    age(files)
    hidden = f"{files.root}/{paths.revisions(OTHER)}/sha256"
    real = os.scandir

    def failing(path: int | str) -> Any:
        if path == hidden:
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(os, "scandir", failing)
    async with planned(files, TAGGED_OR_NOT) as plan:
        assert [one.path for one in plan.coverage.trouble] == [f"{paths.revisions(OTHER)}/sha256"]
        swept = await carry_out(files, plan)
    assert swept.blobs == 0
    monkeypatch.undo()
    age(files)
    assert (await collect(files)).blobs == 1
    await assert_sound(files)


async def test_a_manifest_that_would_be_refused_keeps_its_layers(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Every digest in an older document counts: schema 1 names layers differently."""
    layer = await push_blob(repository, LAYER)
    content = b'{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[{"blobSum":"%s"}]}' % (
        str(layer).encode()
    )
    digest = Digest.of(content)
    await files.write(paths.blob(digest), content)
    await files.write(paths.revision_link(APP, digest), str(digest).encode())
    age(files)
    assert (await collect(files)).blobs == 0
    assert await pull_blob(repository, layer) == LAYER


async def test_a_damaged_tag_keeps_its_history(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A crash of an older registry leaves an empty link; no image is lost."""
    digest = await push_image(repository, "v1")
    await files.write(paths.tag_current_link(APP, Tag("v1")), b"")
    await files.write(paths.revision_link(APP, digest), b"")
    age(files)
    swept = await collect(files, UNTAGGED)
    assert (swept.manifests, swept.blobs, swept.links) == (0, 0, 0)


async def test_old_leftovers_are_removed(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Temporary files, empty folders and the trash are removed; foreign files are kept."""
    await push_image(repository, "v1")
    before = left(files)
    root = Path(files.root)
    temporary = ".tmp-0123456789abcdef0123456789abcdef"
    places = [
        paths.blob(Digest.of(LAYER)),
        paths.revision_link(APP, Digest.of(raw(image()))),
        paths.tag_current_link(APP, Tag("v1")),
        paths.layer_link(APP, Digest.of(LAYER)),
    ]
    for place in places:
        (root / place).with_name(temporary).write_bytes(b"half")
    (root / paths.layers(OTHER) / "sha256" / Digest.of(LAYER).hex).mkdir(parents=True)
    (root / paths.BLOBS / "sha256/00" / ("00" * 32)).mkdir(parents=True)
    half = root / paths.tags(APP) / temporary / "current"
    half.mkdir(parents=True)
    (half / "link").write_bytes(b"half")
    (root / paths.TRASH / "x").mkdir(parents=True)
    (root / paths.TRASH / "x" / "y").write_bytes(b"z")
    foreign = (root / paths.blob(Digest.of(LAYER))).with_name("notes.txt")
    foreign.write_bytes(b"mine")
    assert (await collect(files)).leftovers == 1
    age(files)
    assert (await collect(files)).leftovers == len(places) + 3
    foreign.unlink()
    assert left(files) == before
    assert list((root / paths.TRASH).iterdir()) == []


async def test_leftovers_of_any_number_and_name_are_removed(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """One collection removes several batches, and folders whose names are not text."""
    await push_image(repository, "v1")
    before = left(files)
    layers = Path(files.root) / paths.layers(APP)
    for number in range(120):
        (layers / f".tmp-{number:032x}").write_bytes(b"half")
        os.mkdir(os.fsencode(layers) + b"/\xff%d" % number)
    age(files)
    assert (await collect(files)).leftovers == 240
    assert left(files) == before


async def test_a_clock_that_jumps_loses_nothing(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A push after the plan is safe although its files look older than all others."""
    await push_image(repository, layer=b"else")
    await push_blob(repository, LAYER)
    age(files)
    async with planned(files, UNTAGGED) as plan:
        await push_manifest(repository, image(), "v1")
        age(files, 10 * GRACE)
        await carry_out(files, plan)
    assert (await repository.manifests.get(Tag("v1"))).raw == raw(image())
    assert await pull_blob(repository, Digest.of(LAYER)) == LAYER
    await assert_sound(files)


async def test_an_empty_root_has_nothing_to_collect(files: FilesystemDriver) -> None:
    """A collection may run before the first push."""
    assert await collect(files) == Swept()


async def test_blobs_listed_by_an_index_are_kept(files: FilesystemDriver) -> None:
    """A build cache is an index of layers, which is kept by its tag or a recent push."""
    policy = ManifestPolicy(children=IndexChildren.NONE)
    repository = StoredRegistry(files, policy, grace=GRACE).repository(APP)
    cached = await push_blob(repository, LAYER)
    await push_manifest(repository, index([LAYER]), "cache")
    age(files)
    await collect(files, UNTAGGED)
    assert await pull_blob(repository, cached) == LAYER
    await repository.tags.delete(Tag("cache"))
    age(files)
    async with planned(files, UNTAGGED) as plan:
        await push_manifest(repository, index([LAYER]), "again")
        await carry_out(files, plan)
    assert await pull_blob(repository, cached) == LAYER


async def test_a_link_changed_after_the_plan_is_kept(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A push may replace a sha512 link of distribution, which points to a sha256."""
    named = Digest.of(LAYER, "sha512")
    old = await push_blob(repository, LAYER)
    await files.write(paths.layer_link(APP, named), str(old).encode())
    age(files)
    async with planned(files, UNTAGGED) as plan:
        await push_blob(repository, LAYER, "sha512")
        await carry_out(files, plan)
    assert await pull_blob(repository, named) == LAYER


async def test_a_referrer_is_kept_if_its_subject_is_pushed_during_a_collection(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A signature may be pushed before its subject, and may be old by then."""
    await push_blob(repository, CONFIG)
    await push_blob(repository, LAYER)
    signature = image(layers=[], subject=entry(raw(image())))
    await push_manifest(repository, signature)
    age(files)
    async with planned(files, UNTAGGED) as plan:
        await push_manifest(repository, image(), "v1")
        await carry_out(files, plan)
    page = await repository.referrers.page(Digest.of(raw(image())), None, "", 10)
    assert [one.digest for one in page.entries] == [Digest.of(raw(signature))]


async def test_a_last_collection_in_the_future_does_not_block_the_schedule(
    files: FilesystemDriver,
) -> None:
    """The clock was ahead when the last collection ended."""
    await collect(files)
    age(files, -1000)
    assert await seconds_since_last(files) == math.inf
