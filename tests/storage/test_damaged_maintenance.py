"""On a tree with all kinds of damage, collections, purges, du and scrub succeed.

Content that can be pulled and is needed before a collection can be pulled afterwards, byte for
byte. Foreign content stays where it is.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import chdir
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_census import FileCensus
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.sweep.content_sweep import Swept
from storage.maintenance.scrub.findings import Kind
from storage.maintenance.usage.examination import usage_of
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import (
    CONFIG,
    LAYER,
    begin,
    image,
    name,
    pull_blob,
    push_blob,
    push_image,
    raw,
)
from tests.storage.damaged_pulls import Pulled, age, foreign_content, needed, pulled
from tests.storage.damaged_tree import GONE, IMAGE, SOUND, TAG, DamagedTree, damaged_tree
from tests.storage.purging import purged
from tests.storage.scrubbing import scrub

pytestmark = pytest.mark.faults

Extra: TypeAlias = Callable[[DamagedTree], None]

GRACE = 60.0
TAGS = name("damaged/tags")
MANY = 300
UNREADABLE = os.fsdecode(bytes([0xC3, 0x28, 0xFF]))


def _nothing(_: DamagedTree) -> None:
    """Leave the tree as it is."""


def _huge(tree: DamagedTree) -> None:
    """Add hundreds of foreign files and folders, among the blobs and among the tags."""
    for top in (f"{paths.BLOBS}/sha256/huge", f"{paths.tags(SOUND)}/.huge"):
        tree.expect(Kind.FOREIGN, top)
        for number in range(MANY):
            tree.put(f"{top}/{number}/notes.txt", b"somebody's")
            (tree.root / top / f"{number}.txt").touch()


def _deep(tree: DamagedTree) -> None:
    """Nest folders until no system call takes the path."""
    for top in (f"{paths.REPOSITORIES}/deep", f"{paths.repository(SOUND)}/_deep"):
        with chdir(tree.root):
            os.makedirs(top)
            os.chdir(top)
            for _ in range(300):
                os.mkdir("below-and-below")
                os.chdir("below-and-below")
            Path("notes.txt").write_bytes(b"somebody's")


def _special(tree: DamagedTree) -> None:
    """Add pipes, sockets and unreadable names where nothing is opened."""
    for folder in (
        f"{paths.BLOBS}/sha256",
        f"{paths.BLOBS}/sha256/{GONE.hex[:2]}",
        paths.repository(SOUND),
        f"{paths.layers(SOUND)}/sha256",
        f"{paths.revisions(SOUND)}/sha256",
        paths.tags(SOUND),
        f"{paths.uploads(SOUND)}",
        "docker",
    ):
        (tree.root / folder).mkdir(parents=True, exist_ok=True)
        with chdir(tree.root / folder), socket.socket(socket.AF_UNIX) as one:
            os.mkfifo("pipe")
            one.bind("socket")
            Path(UNREADABLE).mkdir()
            Path(UNREADABLE, UNREADABLE).write_bytes(b"somebody's")
        tree.found |= {(Kind.FOREIGN, f"{folder}/{one}") for one in ("pipe", "socket", UNREADABLE)}


EXTRAS: dict[str, Extra] = {
    "as it is": _nothing,
    "with huge folders": _huge,
    "with deep folders": _deep,
    "with pipes, sockets and unreadable names": _special,
}
extras = pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)


@pytest.fixture
def tree(tmp_path: Path) -> DamagedTree:
    """Return the tree."""
    return damaged_tree(tmp_path)


@pytest.fixture
def new_files(tree: DamagedTree) -> FilesystemDriver:
    """Return a driver of the tree."""
    return FilesystemDriver(tree.root, sync=False, threads=4)


@pytest.fixture
async def files(
    new_files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FilesystemDriver]:
    """Yield a driver of the tree that caches files without delay: no other process writes."""
    yield new_files
    await new_files.close()


async def collect(driver: FilesystemDriver, *, delete_untagged: bool) -> Swept:
    """Collect what is older than the grace period."""
    async with planned(driver, Options(GRACE, delete_untagged=delete_untagged)) as plan:
        return await carry_out(driver, plan)


def assert_kept(before: Pulled, after: Pulled) -> None:
    """Check that everything in `before` is in `after`, with the same bytes."""
    lacking = {key for key, content in before.items() if after.get(key) != content}
    assert not lacking


@extras
@pytest.mark.parametrize("delete_untagged", [False, True], ids=["untagged stay", "untagged go"])
async def test_collections_delete_nothing_intact(
    tree: DamagedTree, files: FilesystemDriver, extra: Extra, delete_untagged: bool
) -> None:
    """One after another; they delete what is unreferenced, unless damage may hide a reference."""
    extra(tree)
    repository = StoredRegistry(files).repository(SOUND)
    orphan = await push_blob(repository, b"nothing needs this")
    age(tree.root)
    before = needed(await pulled(files, tree.root), delete_untagged=delete_untagged)
    theirs = foreign_content(tree)
    assert len(before) > 10
    for _ in range(2):
        swept = await collect(files, delete_untagged=delete_untagged)
        assert swept.failed == []
        assert_kept(before, await pulled(files, tree.root))
        age(tree.root)
    assert foreign_content(tree) == theirs
    assert await files.stat(paths.blob(orphan)) is None
    for content in (b"what is there!!", b"sound"):
        digests = [Digest.of(content, algorithm) for algorithm in ("sha256", "sha512")]
        assert not [one for one in digests if await files.stat(paths.blob(one))]


async def test_a_zero_byte_tag_keeps_its_history(
    tree: DamagedTree, files: FilesystemDriver
) -> None:
    """The manifests that it may have pointed to stay when untagged ones are deleted."""
    age(tree.root)
    for _ in range(2):
        await collect(files, delete_untagged=True)
        age(tree.root)
    repository = StoredRegistry(files).repository(TAGS)
    for number in "12":
        content = raw(image(annotations={"number": number}))
        assert (await repository.manifests.get(Digest.of(content))).raw == content
        for layer in (CONFIG, LAYER):
            assert await pull_blob(repository, Digest.of(layer)) == layer
    assert await files.read(paths.tag_current_link(TAGS, Tag("doubtful"))) == b""
    await scrub(files, repair=True)
    assert (await repository.manifests.get(Tag("certain"))).raw == raw(
        image(annotations={"number": "1"})
    )


async def test_a_collection_reports_what_it_could_not_read(
    tree: DamagedTree, files: FilesystemDriver
) -> None:
    """A manifest whose bytes are missing or corrupt is named; its repository keeps everything."""
    age(tree.root)
    corrupt = Digest.of(raw(image(annotations={"bytes": "corrupt"})))
    revisions = name("damaged/revisions")
    async with planned(files, Options(GRACE, delete_untagged=True)) as plan:
        assert plan.coverage.trouble == ()
        unreadable = await files.batch(lambda _: list(plan.database.marks.unreadable()))
        assert {one for one, _ in unreadable} == {revisions}
        assert {corrupt, GONE} <= {digest for _, digest in unreadable}
        await carry_out(files, plan)
    for number in ({"link": "empty"}, {"link": "names another"}):
        content = raw(image(annotations=number))
        assert await files.read(paths.blob(Digest.of(content)), 1 << 20) == content


@extras
async def test_du_counts_every_file(
    tree: DamagedTree, files: FilesystemDriver, extra: Extra
) -> None:
    """Every file is counted once, foreign files as foreign; nothing is changed."""
    extra(tree)
    age(tree.root)
    count, size = _on_disk(tree.root)
    async with usage_of(files, FileCensus(tree.root), GRACE) as usage:
        if extra is not _deep:  # files below a path that is too long cannot be counted
            assert usage.coverage.trouble == ()
            assert (usage.total.count, usage.total.size) == (count, size)
        unreadable = await files.batch(lambda _: list(usage.database.marks.unreadable()))
        assert {one for one, _ in unreadable} == {name("damaged/revisions")}
    assert _on_disk(tree.root) == (count, size)


def _on_disk(root: Path) -> tuple[int, int]:
    found = [Path(folder, one) for folder, _, names in os.walk(root) for one in names]
    files = [path for path in found if stat.S_ISREG(path.lstat().st_mode)]
    return len(files), sum(path.stat().st_size for path in files)


@extras
async def test_a_scrub_reports_and_repairs_everything(
    tree: DamagedTree, files: FilesystemDriver, extra: Extra
) -> None:
    """It ends, finds foreign files, and after a repair and two collections everything is intact."""
    extra(tree)
    age(tree.root)
    before = needed(await pulled(files, tree.root), delete_untagged=True)
    theirs = foreign_content(tree)
    found, _ = await scrub(files)
    expected = {path for kind, path in tree.found if kind is Kind.FOREIGN}
    assert expected <= {one.path for one in found if one.kind is Kind.FOREIGN}
    await scrub(files, repair=True)
    for _ in range(2):
        age(tree.root)
        assert (await collect(files, delete_untagged=True)).failed == []
    assert_kept(before, await pulled(files, tree.root))
    assert theirs.items() <= foreign_content(tree).items()


@extras
async def test_sessions_are_purged(
    tree: DamagedTree, files: FilesystemDriver, extra: Extra
) -> None:
    """Old sessions of each repository are deleted; other folders stay."""
    extra(tree)
    names = (SOUND, TAGS, name("damaged/foreign"), name("damaged/loops"))
    registry = StoredRegistry(files)
    ids = [await begin(registry.repository(one), b"abandoned") for one in names]
    theirs = foreign_content(tree)
    removed = await purged(files, -3600)
    assert {one.id for one in removed} == set(ids)
    assert foreign_content(tree) == theirs


@extras
async def test_pushes_and_listings_continue(
    tree: DamagedTree, files: FilesystemDriver, extra: Extra
) -> None:
    """Beside the damage the intact repository is listed, pushed to and deleted."""
    extra(tree)
    registry = StoredRegistry(files)
    repository = registry.repository(SOUND)
    assert (await repository.tags.page("", None)).entries == (TAG,)
    assert SOUND in (await registry.catalog("", 1 << 30)).entries
    assert SOUND in await registry.holders(Digest.of(CONFIG))
    digest = await push_image(repository, "new", annotations={"is": "new"})
    assert (await repository.tags.page("", None)).entries == ("new", TAG)
    await repository.manifests.delete(digest)
    assert (await repository.tags.page("", None)).entries == (TAG,)
    assert (await repository.manifests.get(TAG)).raw == IMAGE


# A disk that cannot list a folder

FOLDERS = [
    f"{paths.BLOBS}/sha256",
    f"{paths.BLOBS}/sha256/{Digest.of(IMAGE).hex[:2]}",
    f"{paths.REPOSITORIES}/damaged",
    paths.repository(TAGS),
    f"{paths.layers(TAGS)}/sha256",
    f"{paths.revisions(TAGS)}/sha256",
    paths.tags(TAGS),
]
# Folders that are listed to find repositories.
WALKED = FOLDERS[2:4]


class Unlisted:
    """A folder that the disk fails to list while `on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        self.on = False
        self._path = path
        for function in ("open", "scandir", "listdir"):
            monkeypatch.setattr(os, function, self._failing(getattr(os, function)))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *more: Any, **named: Any) -> Any:
            if self.on and str(path).rstrip("/") == self._path:
                raise OSError(errno.EIO, os.strerror(errno.EIO), self._path)
            return real(path, *more, **named)

        return call


@pytest.mark.parametrize(
    "folder",
    [one for one in FOLDERS if one.startswith(paths.BLOBS)]
    + [one for one in FOLDERS if not one.startswith(paths.BLOBS)],
)
async def test_an_unlisted_folder_loses_no_content(
    tree: DamagedTree, files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Collections, du and scrub report it and continue; no blob is deleted that it may need."""
    age(tree.root)
    before = needed(await pulled(files, tree.root), delete_untagged=True)
    bad = Unlisted(monkeypatch, f"{tree.root}/{folder}")
    bad.on = True
    is_blobs = folder.startswith(paths.BLOBS)
    for _ in range(2):
        async with planned(files, Options(GRACE, delete_untagged=True)) as plan:
            assert is_blobs or folder in {one.path for one in plan.coverage.trouble}
            swept = await carry_out(files, plan)
            assert is_blobs or swept.blobs == 0
        async with usage_of(files, FileCensus(tree.root), GRACE) as usage:
            assert folder in {one.path for one in usage.coverage.trouble}
        found, _ = await scrub(files)
        assert Kind.UNREADABLE in {one.kind for one in found}
        assert (await StoredRegistry(files).repository(SOUND).manifests.get(TAG)).raw == IMAGE
    bad.on = False
    assert_kept(before, await pulled(files, tree.root))
    await collect(files, delete_untagged=True)
    assert_kept(before, await pulled(files, tree.root))


@pytest.mark.parametrize(
    "folder",
    list(WALKED) + [one for one in FOLDERS if one not in WALKED],
)
async def test_a_purge_skips_an_unlisted_folder(
    tree: DamagedTree, files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """The sessions in other folders are purged."""
    id = await begin(StoredRegistry(files).repository(SOUND), b"abandoned")
    bad = Unlisted(monkeypatch, f"{tree.root}/{folder}")
    bad.on = True
    removed = await purged(files, -3600)
    assert [one.id for one in removed] == [id]
