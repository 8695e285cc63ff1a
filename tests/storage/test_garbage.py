"""Garbage collection: what nothing needs goes, and all else stays."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import AlreadyRunning, BlobUnknown, ManifestUnknown
from storage.maintenance.garbage.collect import carry_out, planned
from storage.maintenance.garbage.last import seconds_since_last
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.sweep import Swept
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
    """Make drivers of two processes."""
    one, other = (FilesystemDriver(tmp_path, sync=False, threads=2) for _ in range(2))
    return one, other


@pytest.fixture
async def files(
    drivers: tuple[FilesystemDriver, FilesystemDriver],
) -> AsyncIterator[FilesystemDriver]:
    """Give a driver whose clock can be turned by `age`."""
    yield drivers[0]
    for driver in drivers:
        await driver.close()


@pytest.fixture
def repository(files: FilesystemDriver) -> StoredRepository:
    """Give a repository of a process that has just started."""
    return StoredRegistry(files, grace=GRACE).repository(APP)


def age(files: FilesystemDriver, seconds: float = 2 * GRACE) -> None:
    """Have everything on the disk be older."""
    for folder, _, names in os.walk(files.root, topdown=False):
        for path in (*(os.path.join(folder, name) for name in names), folder):
            at = os.stat(path).st_mtime - seconds
            os.utime(path, (at, at))


async def collect(files: FilesystemDriver, options: Options = TAGGED_OR_NOT) -> Swept:
    """Plan and carry out a collection."""
    async with planned(files, options) as plan:
        return await carry_out(files, plan)


def left(files: FilesystemDriver) -> set[str]:
    """Name every file in the tree, and every folder that is empty."""
    tree = snapshot(Path(files.root))
    above = {path.rpartition("/")[0] for path in tree}
    return {path for path in tree if path not in above and path != "."}


async def test_what_nothing_names_goes_with_its_link(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A blob without a manifest goes once it is old; the image beside it stays."""
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


async def test_a_deleted_image_s_space_comes_back(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """When the last manifest goes, and time passes, nothing is left of the repository."""
    digest = await push_image(repository, "v1", "v2")
    await repository.manifests.delete(digest)
    age(files)
    await collect(files)
    age(files)
    swept = await collect(files)
    assert swept.failed == []
    assert left(files) <= {"blobs", "repositories"}


async def test_untagged_manifests_stay_unless_asked(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A tag that moved leaves its old manifest, which only goes with `delete_untagged`."""
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


async def test_what_hangs_on_a_tag_stays(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Children of indexes, their signatures, and the signatures' signatures are no garbage."""
    child = image(layers=[LAYER])
    await push_image(repository)
    await push_manifest(repository, index([raw(child)]))
    nested = index([raw(index([raw(child)]))])
    await push_manifest(repository, nested, "all")
    signature = image(layers=[], subject=entry(raw(child)))
    await push_manifest(repository, signature)
    await push_manifest(repository, image(layers=[], subject=entry(raw(signature))))
    doomed = await push_image(repository, layer=b"untagged")
    age(files)
    swept = await collect(files, UNTAGGED)
    assert (swept.manifests, swept.blobs) == (1, 2)
    with pytest.raises(ManifestUnknown):
        await repository.manifests.get(doomed)
    page = await repository.referrers.page(Digest.of(raw(child)), None, "", 10)
    assert [one.digest for one in page.entries] == [Digest.of(raw(signature))]
    await assert_sound(files)


async def test_a_family_goes_together(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """An untagged index goes with its children and their signatures."""
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
    """What goes takes nothing with it that a tag leads to, neither a child nor a referrer."""
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


async def test_what_was_used_since_the_plan_stays_with_all_that_hangs_on_it(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A push between plan and sweep of what was to go keeps layers, children and signatures."""
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
async def test_a_blob_used_since_the_plan_stays(
    files: FilesystemDriver, repository: StoredRepository, use: str
) -> None:
    """Whoever was told that a blob is there finds it there when his manifest comes."""
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


async def test_an_upload_that_waited_for_days_is_young_when_it_is_done(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A blob's age counts from the commit, not from when its bytes came."""
    id = await begin(repository, LAYER)
    age(files)
    await finish(repository, id, Digest.of(LAYER))
    assert (await collect(files)).blobs == 0
    assert await pull_blob(repository, Digest.of(LAYER)) == LAYER


async def test_membership_ends_where_nothing_needs_it(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A blob that only another repository needs is no member here any more; its bytes stay."""
    other = StoredRegistry(files).repository(OTHER)
    await push_image(other, "v1")
    await push_blob(repository, LAYER)
    age(files)
    swept = await collect(files)
    assert (swept.links, swept.blobs) == (1, 0)
    with pytest.raises(BlobUnknown):
        await repository.blobs.size(Digest.of(LAYER))
    assert await pull_blob(other, Digest.of(LAYER)) == LAYER


async def test_two_at_once_are_refused(
    files: FilesystemDriver, drivers: tuple[FilesystemDriver, FilesystemDriver]
) -> None:
    """The second is told that there is one, also in another process."""
    async with planned(files, TAGGED_OR_NOT):
        for driver in drivers:
            with pytest.raises(AlreadyRunning):
                await collect(driver)
    await collect(drivers[1])


async def test_a_manifest_that_can_t_be_read_keeps_all_of_its_repository(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Nobody knows what it named, so nothing there is taken for unused."""
    damaged = await push_image(repository, "v1")
    await push_blob(repository, b"perhaps its layer")
    other = StoredRegistry(files).repository(OTHER)
    await push_blob(other, b"orphan")
    await files.write(paths.blob(damaged), b"damaged")
    age(files)
    async with planned(files, UNTAGGED) as plan:
        assert await files.batch(lambda _: list(plan.ledger.marks.unreadable())) == [(APP, damaged)]
        swept = await carry_out(files, plan)
    assert (swept.manifests, swept.blobs) == (0, 1)
    assert await pull_blob(repository, Digest.of(b"perhaps its layer"))


async def test_a_part_that_can_t_be_read_keeps_all_bytes(
    files: FilesystemDriver, repository: StoredRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever may be in there may need any blob."""
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


async def test_a_manifest_this_registry_would_not_take_still_needs_its_layers(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """What an older registry stored is read for digests: schema 1 names its layers otherwise."""
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


async def test_a_damaged_tag_keeps_what_it_may_have_pointed_to(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """An empty link, as a crash of an older registry leaves it, loses nobody's image."""
    digest = await push_image(repository, "v1")
    await files.write(paths.tag_current_link(APP, Tag("v1")), b"")
    await files.write(paths.revision_link(APP, digest), b"")
    age(files)
    swept = await collect(files, UNTAGGED)
    assert (swept.manifests, swept.blobs, swept.links) == (0, 0, 0)


async def test_rubbish_goes_when_it_is_old(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """Temporary files and folders, empty folders and the trash go; what is not ours stays."""
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


async def test_rubbish_of_any_number_and_name_goes(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """More than is removed at once, and folders whose names are no text, go in one collection."""
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
    """A collection may come before the first push."""
    assert await collect(files) == Swept()


async def test_blobs_that_an_index_lists_stay(files: FilesystemDriver) -> None:
    """A build cache is an index of layers; its push and its tag keep them, whatever the rules."""
    rules = ManifestPolicy(children=IndexChildren.NONE)
    repository = StoredRegistry(files, rules, grace=GRACE).repository(APP)
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


async def test_a_link_that_leads_elsewhere_since_the_plan_stays(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A link of distribution's for a sha512, to content under its sha256, may be pushed over."""
    named = Digest.of(LAYER, "sha512")
    old = await push_blob(repository, LAYER)
    await files.write(paths.layer_link(APP, named), str(old).encode())
    age(files)
    async with planned(files, UNTAGGED) as plan:
        await push_blob(repository, LAYER, "sha512")
        await carry_out(files, plan)
    assert await pull_blob(repository, named) == LAYER


async def test_a_referrer_stays_whose_subject_comes_during_a_collection(
    files: FilesystemDriver, repository: StoredRepository
) -> None:
    """A signature may be pushed before what it signs, and be old by then."""
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


async def test_a_clock_that_was_ahead_keeps_no_collection_from_being_due(
    files: FilesystemDriver,
) -> None:
    """The last one seems to be yet to come."""
    await collect(files)
    age(files, -1000)
    assert await seconds_since_last(files) == math.inf
