"""Repositories that a collection cannot read: what they may need is kept."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_census import FileCensus
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.report import warnings
from storage.maintenance.garbage.sweep.content_sweep import Swept
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.examination import usage_of
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag
from tests.storage.content import (
    APP,
    CONFIG,
    LAYER,
    OTHER,
    image,
    pull_blob,
    push_blob,
    push_image,
    raw,
)
from tests.storage.scrubbing import scrub
from tests.storage.test_garbage import age

GRACE = 60.0
ORPHAN = b"nothing needs this, as far as anybody can tell"


@pytest.fixture
def driver(tmp_path: Path) -> FilesystemDriver:
    """Return an empty store, with a folder beside it."""
    (tmp_path / "root").mkdir()
    return FilesystemDriver(tmp_path / "root", sync=False, threads=2)


@pytest.fixture
async def files(driver: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Yield a driver with an old image and an orphan."""
    repository = StoredRegistry(driver).repository(APP)
    await push_image(repository, "v1")
    await push_blob(repository, ORPHAN)
    age(driver)
    yield driver
    await driver.close()


async def collect(files: FilesystemDriver) -> tuple[Swept, list[str]]:
    """Collect; return what was deleted and the warnings of the plan."""
    async with planned(files, Options(GRACE, delete_untagged=True)) as plan:
        warned = await files.batch(lambda _: list(warnings(plan)))
        return await carry_out(files, plan), warned


def folder_of(files: FilesystemDriver, name: RepositoryName) -> Path:
    """Return the path of a repository."""
    return Path(files.root) / paths.repository(name)


def give_a_bad_name(repositories: Path) -> None:
    """Rename a repository to a name that no client can request."""
    (repositories / "Registry.Example").mkdir()
    (repositories / APP.text).rename(repositories / "Registry.Example/app")


def unmount_one(repositories: Path) -> None:
    """Leave a dangling link in the place of a repository."""
    (repositories / APP.text).rename(repositories.parent / "elsewhere")
    (repositories / APP.text).symlink_to("/nowhere/at/all")


def unmount_its_manifests(repositories: Path) -> None:
    """Leave a dangling link in the place of its manifests."""
    shutil.move(repositories / APP.text / "_manifests", repositories.parent / "elsewhere")
    (repositories / APP.text / "_manifests").symlink_to("/nowhere/at/all")


def unmount_its_tags(repositories: Path) -> None:
    """Leave a dangling link in the place of its tags."""
    tags = repositories / APP.text / "_manifests/tags"
    shutil.move(tags, repositories.parent / "elsewhere")
    tags.symlink_to("/nowhere/at/all")


def unmount_all(repositories: Path) -> None:
    """Leave a dangling link in the place of all repositories."""
    repositories.rename(repositories.parent / "elsewhere")
    repositories.symlink_to("/nowhere/at/all")


def empty_its_mount_point(repositories: Path) -> None:
    """Leave a link to an empty mount point in the place of a repository."""
    _leave_mount_point(repositories / APP.text)


def empty_the_mount_point_of_all(repositories: Path) -> None:
    """Leave a link to an empty mount point in the place of all repositories."""
    _leave_mount_point(repositories)


def unmount_its_revisions(repositories: Path) -> None:
    """Leave a dangling link in the place of its sha256 revisions, one level further down."""
    _leave_mount_point(repositories / APP.text / "_manifests/revisions/sha256")


def unmount_a_tag(repositories: Path) -> None:
    """Leave a dangling link in the place of one tag."""
    _leave_mount_point(repositories / APP.text / "_manifests/tags/v1")


def _leave_mount_point(folder: Path) -> None:
    beside = next(one for one in folder.parents if one.name == "root").parent
    shutil.move(folder, beside / "elsewhere")
    (beside / "mount point").mkdir()
    folder.symlink_to(beside / "mount point")


def lose_all(repositories: Path) -> None:
    """Remove the folder of all repositories."""
    repositories.rename(repositories.parent / "elsewhere")


WAYS = (
    give_a_bad_name,
    unmount_one,
    unmount_its_manifests,
    unmount_its_tags,
    unmount_all,
    empty_its_mount_point,
    empty_the_mount_point_of_all,
    unmount_its_revisions,
    unmount_a_tag,
    lose_all,
)


@pytest.mark.parametrize("hide", WAYS)
async def test_no_bytes_are_deleted_while_a_repository_may_be_hidden(
    files: FilesystemDriver, hide: Callable[[Path], None]
) -> None:
    """A collection deletes no blob and reports where the repository may be, and so does du."""
    hide(Path(files.root) / paths.REPOSITORIES)
    swept, warned = await collect(files)
    assert (swept.blobs, swept.size, swept.links, swept.manifests) == (0, 0, 0, 0)
    assert len(warned) == 1
    assert warned[0].startswith(paths.REPOSITORIES)
    async with usage_of(files, FileCensus(Path(files.root)), GRACE) as usage:
        assert usage.blobs.idle == Amount()
        assert [f"{path}: " in warned[0] for path, _ in usage.coverage.trouble] == [True]


@pytest.mark.parametrize(
    "where",
    ["_manifests", "_manifests/revisions", "_manifests/tags", "_manifests/tags/v1", "_layers"],
)
async def test_a_repository_that_is_mounted_again_is_complete(
    files: FilesystemDriver, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a collection nor a repair deletes its content while its disk is not mounted."""
    folder = folder_of(files, APP) / where
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "nowhere")
    await collect(files)
    await scrub(files, repair=True)
    assert folder.is_symlink()
    folder.unlink()
    shutil.move(tmp_path / "elsewhere", folder)
    repository = StoredRegistry(files).repository(APP)
    manifest = await repository.manifests.get(Tag("v1"))
    assert manifest.digest == Digest.of(raw(image()))
    for content in (CONFIG, LAYER):
        assert await pull_blob(repository, Digest.of(content)) == content


async def test_what_is_no_repository_keeps_nothing(files: FilesystemDriver) -> None:
    """Folders of other programs, circular links, and a repository elsewhere."""
    repositories = Path(files.root) / paths.REPOSITORIES
    (repositories / "lost+found/#123").mkdir(parents=True)
    (repositories / "Foreign").symlink_to("Foreign")
    (repositories / "Circle").mkdir()
    (repositories / "Circle/again").symlink_to(".")
    (repositories / "circle").symlink_to(".")
    (repositories / "another").symlink_to(".")
    moved = Path(files.root).parent / "another disk"
    (repositories / APP.text).rename(moved)
    (repositories / APP.text).symlink_to(moved)
    swept, warned = await collect(files)
    assert swept.blobs == 1
    assert not warned


async def test_links_that_two_repositories_share_stay(files: FilesystemDriver) -> None:
    """One repository may need what the other does not: nothing becomes unreachable."""
    registry = StoredRegistry(files)
    layer = b"needed by the other alone"
    for name in (APP, OTHER):
        await push_blob(registry.repository(name), layer)
    await push_image(registry.repository(OTHER), "v1", layer=layer)
    age(files)
    layers = folder_of(files, OTHER) / "_layers"
    for link in layers.rglob("link"):
        target = folder_of(files, APP) / "_layers" / link.relative_to(layers)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(link, target)
    shutil.rmtree(layers)
    layers.symlink_to(folder_of(files, APP) / "_layers")
    swept, warned = await collect(files)
    assert (swept.blobs, swept.links) == (0, 0)
    assert f"{OTHER.text}/_layers: is a link to another part" in warned[0]
    assert await pull_blob(registry.repository(OTHER), Digest.of(layer)) == layer


async def test_a_manifest_that_is_linked_as_a_blob_keeps_its_references(
    files: FilesystemDriver,
) -> None:
    """Early registries linked manifests as layers; a tag of one keeps image and layers."""
    repository = folder_of(files, APP)
    digest = Digest.of(raw(image()))
    shutil.rmtree(repository / "_manifests/revisions")
    link = Path(files.root) / paths.layer_link(APP, digest)
    link.parent.mkdir(parents=True)
    link.write_text(str(digest))
    age(files)
    swept, _ = await collect(files)
    assert (swept.blobs, swept.links, swept.manifests) == (1, 1, 0)
    shutil.rmtree(repository / "_manifests/tags")
    age(files)
    swept, _ = await collect(files)
    assert swept.blobs == 3
