"""On a tree with all kinds of damage, requests succeed and repair what they touch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import BlobUnknown, ManifestUnknown, RepositoryUnknown
from storage.maintenance.scrub.findings import Kind
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag
from tests.storage.content import (
    CONFIG,
    LAYER,
    entry,
    image,
    index,
    name,
    pull_blob,
    push_blob,
    push_image,
    push_manifest,
    raw,
)
from tests.storage.damaged_pulls import age, members, needed, pulled
from tests.storage.damaged_tree import IMAGE, SOUND, TAG, DamagedTree, damaged_tree
from tests.storage.scrubbing import scrub

ALL = 1 << 30

CORRUPT = {
    Digest.of(content, algorithm): content
    for content, algorithm in (
        (b"what was pushed", "sha256"),
        (b"longer than what is there", "sha256"),
        (b"cut to nothing", "sha256"),
        (b"right", "sha512"),
        (b"a loop in place of bytes", "sha256"),
    )
}
HOLDING_MANIFESTS = [
    "damaged/foreign",
    "damaged/histories",
    "damaged/loops",
    "damaged/references",
    "damaged/referrers",
    "damaged/revisions",
    "damaged/tags",
    "sound/image",
]


@pytest.fixture
def tree(tmp_path: Path) -> DamagedTree:
    """Return the tree, all of it older than any grace period."""
    made = damaged_tree(tmp_path)
    age(tmp_path)
    return made


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


# Listings


async def test_the_catalog_lists_repositories_with_manifests(files: FilesystemDriver) -> None:
    """In one page or in many: no stray folder, file in a folder's place, or loop stops it."""
    registry = StoredRegistry(files)
    whole = await registry.catalog("", ALL)
    assert list(map(str, whole.entries)) == HOLDING_MANIFESTS
    found, after = list[str](), ""
    while True:
        page = await registry.catalog(after, 1)
        found += map(str, page.entries)
        if not page.more:
            break
        after = found[-1]
    assert found == HOLDING_MANIFESTS


async def test_tags_are_listed_in_pages(files: FilesystemDriver) -> None:
    """A tag with a damaged link is listed; a folder whose name is no tag is not."""
    registry = StoredRegistry(files)
    tags = registry.repository(name("damaged/tags")).tags
    whole = (await tags.page("", None)).entries
    assert list(map(str, whole)) == [
        "certain",
        "dead",
        "dead-with-a-file",
        "doubtful",
        "edited",
        "empty",
        "hopeless",
        "without-current",
    ]
    for limit in (1, 3):
        found, after = list[Tag](), ""
        while True:
            page = await tags.page(after, limit)
            found += page.entries
            if not page.more:
                break
            after = str(found[-1])
        assert tuple(found) == whole
    for other in ("foreign", "loops"):
        assert (
            await registry.repository(name(f"damaged/{other}")).tags.page("", None)
        ).entries == ("v1",)


async def test_referrers_are_listed_if_they_are_members(files: FilesystemDriver) -> None:
    """An entry that is damaged, stale or missing changes no other entry of the list.

    The index says of one member that it refers to itself; that is believed until a scrub finds it.
    """
    names = name("damaged/referrers")
    subject = Digest.of(raw(image()))
    expected = [
        str(Digest.of(raw(image(subject=entry(raw(image())), annotations={"number": number}))))
        for number in "12"
    ]
    expected = sorted([*expected, str(subject)])
    for _ in range(2):
        repository = StoredRegistry(files).repository(names)
        found, after = list[str](), ""
        while True:
            page = await repository.referrers.page(subject, None, after, 1)
            found += [str(one.digest) for one in page.entries]
            if not page.more:
                break
            after = found[-1]
        assert found == expected
    for one in HOLDING_MANIFESTS:
        repository = StoredRegistry(files).repository(name(one))
        await repository.referrers.page(Digest.of(b"nobody's subject"), None, "", 10)


# Pulls


async def test_intact_content_is_pulled(tree: DamagedTree, files: FilesystemDriver) -> None:
    """Beside the damage: images, indexes without a child, content under another digest."""
    found = await pulled(files, tree.root)
    assert found[SOUND, TAG] == IMAGE
    for content in (CONFIG, LAYER):
        assert found[SOUND, Digest.of(content)] == content
    sparse = raw(index([b"a child that is gone"]))
    lacking = raw(image([b"a layer that is gone"]))
    for content in (sparse, lacking):
        assert found[name("damaged/references"), Digest.of(content)] == content
    layers = name("damaged/layers")
    assert found[layers, Digest.of(b"layer 4")] == b"layer 4"
    assert found[layers, Digest.of(b"layer 6", "sha512")] == b"layer 6"
    for damaged in range(4):
        assert (layers, Digest.of(b"layer %d" % damaged)) not in found
    assert len(needed(found, delete_untagged=True)) > 10


async def test_corrupt_bytes_are_served_and_found_by_a_scrub(
    tree: DamagedTree, files: FilesystemDriver
) -> None:
    """A pull does not hash what it serves; the client does, and a scrub."""
    corrupt = Digest.of(b"what was pushed")
    repository = StoredRegistry(files).repository(name("damaged/corrupt"))
    assert await pull_blob(repository, corrupt) == b"what is there!!"
    found, _ = await scrub(files)
    assert (Kind.CORRUPT_BLOB, paths.blob(corrupt)) in {(one.kind, one.path) for one in found}


# Pushes


async def test_images_are_pushed_everywhere(tree: DamagedTree, files: FilesystemDriver) -> None:
    """To each damaged repository, under new tags and under damaged ones."""
    registry = StoredRegistry(files)
    tags = ["new", "v1", "certain", "doubtful", "hopeless", "empty", "dead", "without-current"]
    names = sorted({one for one, _ in members(tree.root)}, key=str)
    assert len(names) == 10
    for one in names:
        repository = registry.repository(one)
        digest = await push_image(repository, *tags, annotations={"pushed": "again"})
        for tag in tags:
            assert (await repository.manifests.get(Tag(tag))).digest == digest
        for content in (CONFIG, LAYER):
            assert await pull_blob(repository, Digest.of(content)) == content
    assert (await registry.catalog("", ALL)).entries == tuple(names)


async def test_a_push_replaces_corrupt_bytes(files: FilesystemDriver) -> None:
    """Whatever is in the place of the bytes is replaced, even if its size is right."""
    repository = StoredRegistry(files).repository(name("damaged/corrupt"))
    for digest, content in CORRUPT.items():
        assert await push_blob(repository, content, digest.algorithm) == digest
        assert await pull_blob(repository, digest) == content


async def test_a_push_rewrites_damaged_links(files: FilesystemDriver) -> None:
    """A link that is empty, truncated, of another digest, or a loop is rewritten."""
    repository = StoredRegistry(files).repository(name("damaged/layers"))
    for number in (0, 1, 2, 3, 4, 6, 7):
        content = b"layer %d" % number
        digest = await push_blob(repository, content)
        assert await repository.blobs.size(digest) == len(content)
        assert await pull_blob(repository, digest) == content


@pytest.mark.parametrize("content", [b"a folder in place of bytes", b"layer 5"])
async def test_a_folder_in_the_place_of_a_link_is_left_to_a_scrub(
    tree: DamagedTree, files: FilesystemDriver, content: bytes
) -> None:
    """It may have foreign content: a push fails and leaves it, a repair moves it aside."""
    repository = StoredRegistry(files).repository(name("damaged/layers"))
    theirs = [path for path in tree.root.rglob("somebody's") if path.is_file()]
    with pytest.raises(OSError, match="directory"):
        await push_blob(repository, content)
    assert all(path.read_bytes() == b"file" for path in theirs)
    await scrub(files, repair=True)
    digest = await push_blob(repository, content)
    assert await pull_blob(repository, digest) == content


async def test_a_push_repairs_manifests(files: FilesystemDriver) -> None:
    """With damaged links or bytes, of an index with a missing child, of a missing layer."""
    registry = StoredRegistry(files)
    revisions = registry.repository(name("damaged/revisions"))
    for damage in ({"link": "empty"}, {"link": "names another"}, {"bytes": "corrupt"}):
        document = image(annotations=damage)
        digest = await push_manifest(revisions, document, "healed")
        for reference in (digest, Tag("healed")):
            assert (await revisions.manifests.get(reference)).raw == raw(document)
    references = registry.repository(name("damaged/references"))
    await push_blob(references, b"a layer that is gone")
    await push_manifest(references, image([b"a layer that is gone"]), "healed")
    found, _ = await scrub(files)
    assert Kind.MISSING_BLOB not in {one.kind for one in found}


# Mounts and deletions


async def test_mounts_work_for_every_served_blob(
    tree: DamagedTree, files: FilesystemDriver
) -> None:
    """From each repository each blob that it serves, and no other."""
    registry = StoredRegistry(files)
    target = registry.repository(name("new/one"))
    given = refused = 0
    for one, reference in members(tree.root):
        if isinstance(reference, Tag):
            continue
        try:
            size = await registry.repository(one).blobs.size(reference)
        except BlobUnknown:
            refused += 1
            with pytest.raises(BlobUnknown):
                await target.blobs.mount(reference, one)
            continue
        given += 1
        assert one in await registry.holders(reference)
        await target.blobs.mount(reference, one)
        assert await target.blobs.size(reference) == size
    assert given > 15
    assert refused > 15


async def test_damaged_content_can_be_deleted(tree: DamagedTree, files: FilesystemDriver) -> None:
    """Every tag and every manifest that has a link; other ones are unknown."""
    registry = StoredRegistry(files)
    everything = await pulled(files, tree.root)
    for one, reference in sorted(members(tree.root), key=str):
        repository = registry.repository(one)
        if one == SOUND or not _is_listed(tree, one, reference):
            continue
        if isinstance(reference, Tag):
            await repository.tags.delete(reference)
            with pytest.raises(ManifestUnknown):
                await repository.manifests.get(reference)
        elif (tree.root / paths.revision_link(one, reference)).exists():
            await repository.manifests.delete(reference)
            with pytest.raises(ManifestUnknown):
                await repository.manifests.get(reference)
        elif (one, reference) in everything:
            await repository.blobs.delete(reference)
            with pytest.raises(BlobUnknown):
                await repository.blobs.size(reference)
    assert (await registry.catalog("", ALL)).entries == (SOUND,)
    after = await pulled(files, tree.root)
    assert {key: what for key, what in after.items() if key[0] == SOUND} == {
        key: what for key, what in everything.items() if key[0] == SOUND
    }


def _is_listed(tree: DamagedTree, one: RepositoryName, reference: Digest | Tag) -> bool:
    """Return whether a tag is listed: no file in a folder's place, and no loop."""
    return isinstance(reference, Digest) or (tree.root / paths.tag(one, reference)).is_dir()


async def test_a_tag_that_is_a_loop_is_unknown(files: FilesystemDriver) -> None:
    """It is not listed, not served, and can't be deleted."""
    repository = StoredRegistry(files).repository(name("damaged/loops"))
    with pytest.raises(ManifestUnknown):
        await repository.manifests.get(Tag("loop"))
    with pytest.raises(ManifestUnknown):
        await repository.tags.delete(Tag("loop"))


async def test_deleting_a_manifest_skips_damaged_tags(files: FilesystemDriver) -> None:
    """Only its tags are deleted, even beside tags whose links dangle."""
    repository = StoredRegistry(files).repository(name("damaged/tags"))
    before = (await repository.tags.page("", None)).entries
    digest = await push_image(repository, "one", "two")
    await repository.manifests.delete(digest)
    assert (await repository.tags.page("", None)).entries == before


async def test_repositories_are_removed(tree: DamagedTree, files: FilesystemDriver) -> None:
    """Everything but the intact one is removed; foreign files outside our folders stay."""
    registry = StoredRegistry(files)
    before = await pulled(files, tree.root)
    for one in {one for one, _ in members(tree.root)} - {SOUND}:
        await registry.remove(one)
        with pytest.raises(RepositoryUnknown):
            await registry.remove(one)
    after = await pulled(files, tree.root)
    assert after == {key: what for key, what in before.items() if key[0] == SOUND}
