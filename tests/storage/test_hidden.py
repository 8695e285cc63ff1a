"""Repositories that a collection can't enter: what they may need stays."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from storage import paths
from storage.digest import Digest
from storage.drivers.file_census import FileCensus
from storage.drivers.filesystem import FilesystemDriver
from storage.maintenance.garbage.collect import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.report import warnings
from storage.maintenance.garbage.sweep import Swept
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.explain import explained
from storage.names import RepositoryName
from storage.registry import StoredRegistry
from tests.storage.content import APP, OTHER, image, pull_blob, push_blob, push_image, raw
from tests.storage.test_garbage import age

GRACE = 60.0
ORPHAN = b"nothing needs this, as far as anybody can tell"


@pytest.fixture
def driver(tmp_path: Path) -> FilesystemDriver:
    """Make an empty store, with room beside it."""
    (tmp_path / "root").mkdir()
    return FilesystemDriver(tmp_path / "root", sync=False, threads=2)


@pytest.fixture
async def files(driver: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Give a driver with an image, old, and an orphan."""
    repository = StoredRegistry(driver).repository(APP)
    await push_image(repository, "v1")
    await push_blob(repository, ORPHAN)
    age(driver)
    yield driver
    await driver.close()


async def collect(files: FilesystemDriver) -> tuple[Swept, list[str]]:
    """Collect; return what went and what the plan warns of."""
    async with planned(files, Options(GRACE, delete_untagged=True)) as plan:
        return await carry_out(files, plan), list(warnings(plan))


def folder_of(files: FilesystemDriver, name: RepositoryName) -> Path:
    """Tell where a repository lies."""
    return Path(files.root) / paths.repository(name)


def give_a_bad_name(repositories: Path) -> None:
    """Leave a repository by a name that no client can ask for."""
    (repositories / "Registry.Example").mkdir()
    (repositories / APP.text).rename(repositories / "Registry.Example/app")


def unmount_one(repositories: Path) -> None:
    """Leave a link to where a repository was."""
    (repositories / APP.text).rename(repositories.parent / "elsewhere")
    (repositories / APP.text).symlink_to("/nowhere/at/all")


def unmount_its_manifests(repositories: Path) -> None:
    """Leave a link to where its manifests were."""
    shutil.move(repositories / APP.text / "_manifests", repositories.parent / "elsewhere")
    (repositories / APP.text / "_manifests").symlink_to("/nowhere/at/all")


def unmount_its_tags(repositories: Path) -> None:
    """Leave a link to where its tags were."""
    tags = repositories / APP.text / "_manifests/tags"
    shutil.move(tags, repositories.parent / "elsewhere")
    tags.symlink_to("/nowhere/at/all")


def unmount_all(repositories: Path) -> None:
    """Leave a link to where all repositories were."""
    repositories.rename(repositories.parent / "elsewhere")
    repositories.symlink_to("/nowhere/at/all")


def lose_all(repositories: Path) -> None:
    """Leave nothing where all repositories were."""
    repositories.rename(repositories.parent / "elsewhere")


WAYS = (
    give_a_bad_name,
    unmount_one,
    unmount_its_manifests,
    unmount_its_tags,
    unmount_all,
    lose_all,
)


@pytest.mark.parametrize("hide", WAYS)
async def test_no_bytes_go_while_a_repository_may_be_hidden(
    files: FilesystemDriver, hide: Callable[[Path], None]
) -> None:
    """A collection removes no blob and says where the repository may be, and so does du."""
    hide(Path(files.root) / paths.REPOSITORIES)
    swept, warned = await collect(files)
    assert (swept.blobs, swept.size) == (0, 0)
    assert len(warned) == 1
    assert warned[0].startswith(paths.REPOSITORIES)
    async with explained(files, FileCensus(Path(files.root)), GRACE) as usage:
        assert usage.blobs.idle == Amount()
        assert [f"{path}: " in warned[0] for path, _ in usage.trouble] == [True]


async def test_what_is_no_repository_keeps_nothing(files: FilesystemDriver) -> None:
    """Folders of other programs, links that lead in circles, and a repository elsewhere."""
    repositories = Path(files.root) / paths.REPOSITORIES
    (repositories / "lost+found/#123").mkdir(parents=True)
    (repositories / "Foreign").symlink_to("Foreign")
    (repositories / "Circle").mkdir()
    (repositories / "Circle/again").symlink_to(".")
    (repositories / "circle").symlink_to(".")
    moved = Path(files.root).parent / "another disk"
    (repositories / APP.text).rename(moved)
    (repositories / APP.text).symlink_to(moved)
    swept, warned = await collect(files)
    assert swept.blobs == 1
    assert not warned


async def test_links_that_two_repositories_share_stay(files: FilesystemDriver) -> None:
    """What one does not need the other may: nothing becomes unreachable."""
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
    assert f"{OTHER.text}/_layers: leads to another part" in warned[0]
    assert await pull_blob(registry.repository(OTHER), Digest.of(layer)) == layer


async def test_a_manifest_that_is_linked_as_a_blob_keeps_what_it_names(
    files: FilesystemDriver,
) -> None:
    """Early registries linked manifests beside layers; a tag of one keeps image and layers."""
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
