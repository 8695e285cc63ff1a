"""Tags and repositories are listed in byte order, page by page, whatever else the folders hold."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.drivers.base import Reader
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver
from storage.errors import RepositoryUnknown
from storage.repository import registry as registry_module
from storage.repository.registry import ManifestPresence, StoredRegistry, walk
from storage.values import paths
from storage.values.digest import Digest
from storage.values.listing import Page, cut
from storage.values.names import RepositoryName, Tag
from tests.storage.content import APP, LAYER, OTHER, begin, name, push_blob, push_image
from tests.storage.examples import REPOSITORY_NAMES, SOME, TAGS
from tests.support.drivers import AnyDriver

DIGEST = Digest.of(b"a manifest")
LINK = str(DIGEST).encode()
AFTER = st.one_of(st.text("a-./_0b", max_size=5), st.text(max_size=3), REPOSITORY_NAMES)


async def _collect(
    page: Callable[[str, int], Awaitable[Page[str]]], limit: int, total: int
) -> list[str]:
    """Follow all pages as a client does, and check each against its limit."""
    found: list[str] = []
    for _ in range(total + 2):
        got = await page(found[-1] if found else "", limit)
        assert len(got.entries) <= limit
        found += got.entries
        if not got.more:
            return found
        assert len(got.entries) == limit
    raise AssertionError("the pages do not end")


def _pages_of_tags(registry: StoredRegistry) -> Callable[[str, int], Awaitable[Page[str]]]:
    async def page(after: str, limit: int) -> Page[str]:
        got = await registry.repository(APP).tags.page(after, limit)
        return Page(tuple(tag.text for tag in got.entries), got.more)

    return page


def _pages_of_repositories(registry: StoredRegistry) -> Callable[[str, int], Awaitable[Page[str]]]:
    async def page(after: str, limit: int) -> Page[str]:
        got = await registry.catalog(after, limit)
        return Page(tuple(one.text for one in got.entries), got.more)

    return page


async def _tagged(driver: AnyDriver, repository: RepositoryName, *tags: str) -> None:
    """Write the links that a push of tags leaves, without the rest."""
    await driver.write(paths.revision_link(repository, DIGEST), LINK)
    for tag in tags:
        await driver.write(paths.tag_index_link(repository, Tag(tag), DIGEST), LINK)
        await driver.write(paths.tag_current_link(repository, Tag(tag)), LINK)


@SOME
@given(tags=st.sets(TAGS, min_size=1, max_size=12), limit=st.integers(1, 5), after=AFTER)
async def test_tag_pages_lose_and_repeat_nothing(tags: set[str], limit: int, after: str) -> None:
    """The pages together are all tags in order, and a page may start after any text."""
    driver = MemoryDriver()
    await _tagged(driver, APP, *tags)
    registry = StoredRegistry(driver)
    expected = sorted(tags, key=str.encode)
    assert await _collect(_pages_of_tags(registry), limit, len(tags)) == expected
    behind = [tag for tag in expected if tag > after]
    page = await registry.repository(APP).tags.page(after, limit)
    assert [tag.text for tag in page.entries] == behind[:limit]
    assert page.more == (len(behind) > limit)
    whole = await registry.repository(APP).tags.page(after, None)
    assert ([tag.text for tag in whole.entries], whole.more) == (behind, False)


@SOME
@given(names=st.sets(REPOSITORY_NAMES, max_size=12), limit=st.integers(1, 5), after=AFTER)
@example({"a", "a-b", "a/b", "a.b", "a/b/c", "a-b/c", "a0", "ab", "b"}, 1, "a/")
@example({"a/b/c"}, 1, "a/b")
@example({"a/b", "a-b/c", "a"}, 2, "a-b/c/d")
@example({"a", "a-b", "a-b.c", "a-b.c/d", "a-b/c", "a/b"}, 2, "a-b.c")
@example({"a/b", "a-b/c", "a.b/c", "a0/b"}, 1, "a-b/")
@example({"a/b", "a--b/c"}, 3, "a-")
@example({"a/b", "a-b", "b"}, 3, "a/" + "b" * 300)
async def test_catalog_pages_lose_and_repeat_nothing(
    names: set[str], limit: int, after: str
) -> None:
    """Names with a common prefix come in byte order, from any point on."""
    driver = MemoryDriver()
    for text in names:
        await _tagged(driver, name(text), "v1")
    registry = StoredRegistry(driver)
    expected = sorted(names, key=str.encode)
    assert await _collect(_pages_of_repositories(registry), limit, len(names)) == expected
    behind = [text for text in expected if text.encode() > after.encode("utf-8", "surrogatepass")]
    page = await registry.catalog(after, limit)
    assert [one.text for one in page.entries] == behind[:limit]
    assert page.more == (len(behind) > limit)
    assert await driver.batch(lambda reader: sorted(map(str, walk(reader, after)))) == sorted(
        one
        for one in {"/".join(text.split("/")[:at]) for text in names for at in range(1, 9)}
        if one > after
    )


class _WatchedPresence(ManifestPresence):
    """Records the repositories for which it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def has_manifest(self, reader: Reader, name: RepositoryName) -> bool:
        self.asked.add(name.text)
        return super().has_manifest(reader, name)


@SOME
@given(
    names=st.sets(REPOSITORY_NAMES, max_size=16),
    shown=st.sets(REPOSITORY_NAMES, max_size=16),
    limit=st.integers(1, 5),
)
async def test_pages_of_visible_repositories_are_full_and_complete(
    names: set[str], shown: set[str], limit: int
) -> None:
    """Invisible repositories do not count towards the limit, and nothing reveals them."""
    driver, watched = MemoryDriver(), _WatchedPresence()
    for text in names:
        await _tagged(driver, name(text), "v1")
    registry = StoredRegistry(driver)
    registry._presence = watched

    async def page(after: str, limit: int) -> Page[str]:
        got = await registry.catalog(after, limit, lambda one: one.text in shown)
        return Page(tuple(one.text for one in got.entries), got.more)

    assert await _collect(page, limit, len(names)) == sorted(names & shown, key=str.encode)
    assert shown.issuperset(watched.asked), "an invisible one was looked into"


@SOME
@given(entries=st.lists(st.integers(), max_size=6), limit=st.integers(0, 8))
def test_a_cut_takes_the_first_and_knows_of_more(entries: list[int], limit: int) -> None:
    """`more` is exact, and false on a page without entries."""
    page = cut(iter(entries), limit)
    assert list(page.entries) == entries[:limit]
    assert page.more == (limit > 0 and len(entries) > limit)
    assert cut(iter(entries), None) == Page(tuple(entries))


async def test_a_page_of_nothing_is_empty(driver: AnyDriver) -> None:
    """n=0 gives an empty list of a repository that exists, and an error for an unknown one."""
    await _tagged(driver, APP, "v1", "v2")
    registry = StoredRegistry(driver)
    assert await registry.repository(APP).tags.page("", 0) == Page(())
    assert await registry.catalog("", 0) == Page(())
    with pytest.raises(RepositoryUnknown):
        await registry.repository(OTHER).tags.page("", 0)


async def test_a_repository_is_known_once_something_was_pushed(driver: AnyDriver) -> None:
    """An upload in progress makes no repository, a blob does; pages after the last are empty."""
    registry = StoredRegistry(driver)
    repository = registry.repository(APP)
    await begin(repository, LAYER)
    for after in ("", "v1"):
        with pytest.raises(RepositoryUnknown):
            await repository.tags.page(after, 10)
    await push_blob(repository, LAYER)
    assert await repository.tags.page("", 10) == Page(())
    await push_image(repository, "v1")
    assert await repository.tags.page("v1", 10) == Page(())


async def test_the_catalog_has_repositories_with_a_manifest(driver: AnyDriver) -> None:
    """Blobs and uploads do not suffice, an untagged manifest does, until it is deleted."""
    registry = StoredRegistry(driver)
    app, other = registry.repository(APP), registry.repository(OTHER)
    await begin(other, LAYER)
    await push_blob(other, LAYER)
    assert await registry.catalog("", 10) == Page(())
    untagged = await push_image(other)
    tagged = await push_image(app, "v1")
    assert (await registry.catalog("", 10)).entries == (APP, OTHER)
    await other.manifests.delete(untagged)
    assert (await registry.catalog("", 10)).entries == (APP,)
    await app.tags.delete(Tag("v1"))
    assert (await registry.catalog("", 10)).entries == (APP,)
    await app.manifests.delete(tagged)
    assert await registry.catalog("", 10) == Page(())


async def test_a_repository_stays_listed_by_whatever_link_is_left(driver: AnyDriver) -> None:
    """If the link by which it was listed is missing, any other link counts."""
    registry = StoredRegistry(driver)
    links = [paths.tag_current_link(APP, Tag(tag)) for tag in ("v1", "v2", "v3")]
    links.append(paths.revision_link(APP, DIGEST))
    for order in (links, links[::-1], links[2:] + links[:2]):
        for link in order:
            await driver.write(link, LINK)
        for link in order:
            for _ in range(2):
                assert (await registry.catalog("", 10)).entries == (APP,)
            await driver.delete(link)
        for _ in range(2):
            assert await registry.catalog("", 10) == Page(())


async def test_more_repositories_than_are_remembered_are_listed(
    driver: AnyDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache of repositories is bounded; clearing it changes no listing."""
    monkeypatch.setattr(registry_module, "_MOST_FOUND", 3)
    names = [f"app-{n}" for n in range(8)]
    for text in names:
        await _tagged(driver, name(text), "v1")
    registry = StoredRegistry(driver)
    for _ in range(2):
        page = await registry.catalog("", 10)
        assert [one.text for one in page.entries] == names
        assert len(registry._presence._found) <= 3


@pytest.fixture
def new_files(tmp_path: Path) -> FilesystemDriver:
    """Make a driver over an empty folder."""
    return FilesystemDriver(tmp_path, threads=2)


@pytest.fixture
async def files(new_files: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Give that driver, and close it."""
    yield new_files
    await new_files.close()


@pytest.mark.parametrize("team", ["", "team/"])
@pytest.mark.parametrize("start", [0, 30, 55])
async def test_a_page_reads_no_more_folders_wherever_it_starts(
    start: int, team: str, files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of five repositories reads the folders of those five and of the next one."""
    names = [f"{team}app-{n:02d}" for n in range(60)]
    for text in names:
        await _tagged(files, name(text), "v1")
    registry = StoredRegistry(files)
    read: list[int | str] = []
    scandir = os.scandir

    def counting(folder: int | str) -> Any:
        entries = scandir(folder)  # a missing folder is not counted
        read.append(folder)
        return entries

    monkeypatch.setattr(os, "scandir", counting)
    page = await registry.catalog(names[start - 1] if start else "", 5)
    assert [one.text for one in page.entries] == names[start : start + 5]
    # Each is read for tags, and the five (with the one the page starts behind) for what is below.
    assert len(read) <= 6 + 6 + 2


async def test_holders_are_found_at_any_depth(driver: AnyDriver) -> None:
    """Every repository with the blob's link is found, in order; other blobs do not count."""
    registry = StoredRegistry(driver)
    for text in ("b", "a", "a/b", "a-b", "a/b/c"):
        await push_blob(registry.repository(name(text)), LAYER)
    await push_blob(registry.repository(name("c")), b"else")
    found = await registry.holders(Digest.of(LAYER))
    assert [one.text for one in found] == ["a", "a-b", "a/b", "a/b/c", "b"]
    assert await registry.holders(Digest.of(b"nobody's")) == []


DAMAGED_LINKS = [
    b"",
    b"\0",
    b"sha256:",
    b"sha256:" + b"0" * 63,
    b"\xff\xfe",
    b"x" * 9000,
    b"md5:00",
]


@pytest.mark.parametrize("damage", DAMAGED_LINKS)
async def test_damage_stops_no_listing(
    driver: AnyDriver, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged links and stray files are skipped; everything else is listed, in order."""
    registry = StoredRegistry(driver)
    repository = registry.repository(APP)
    digest = await push_image(repository, "a", "m", "z")
    tags = paths.tags(APP)
    await driver.write_unsynced(paths.tag_current_link(APP, Tag("m")), damage)
    await driver.write_unsynced(f"{tags}/stray", b"a file among the tags")
    await driver.write_unsynced(f"{tags}/.tmp-0123", b"")
    await driver.write_unsynced(f"{tags}/not a tag/current/link", LINK)
    await driver.write_unsynced(f"{paths.revisions(APP)}/sha256/stray", b"")
    await driver.write_unsynced(f"{paths.revisions(APP)}/sha256/zz/link", b"")
    await driver.write_unsynced(f"{paths.revisions(APP)}/stray", b"")
    await driver.write_unsynced(f"{paths.REPOSITORIES}/stray", b"")
    await driver.write_unsynced(f"{paths.REPOSITORIES}/UPPER/_manifests/tags/v1/current/link", LINK)
    await driver.write_unsynced(f"{paths.REPOSITORIES}/library/.DS_Store", b"")
    await driver.write_unsynced(f"{paths.REPOSITORIES}/library/x/_manifests", b"a file")
    await driver.write_unsynced(f"{paths.layers(OTHER)}/sha256/{'0' * 64}/link", damage)
    listed = [tag.text for tag in (await repository.tags.page("", None)).entries]
    assert [text for text in listed if text != "m"] == ["a", "z"]
    assert (await registry.catalog("", 10)).entries == (APP,)
    with caplog.at_level(logging.CRITICAL):
        assert await registry.holders(Digest("sha256", "0" * 64)) == []
        await repository.manifests.delete(digest)
    assert [
        tag.text for tag in (await repository.tags.page("", None)).entries if tag.text != "m"
    ] == []


async def test_a_deep_tree_is_walked(driver: AnyDriver) -> None:
    """The longest possible name is found, and folders that are too deep are not entered."""
    longest = "/".join(["a"] * 128)
    await _tagged(driver, name(longest), "v1")
    too_deep = f"{paths.REPOSITORIES}/{longest}/a"
    await driver.write_unsynced(f"{too_deep}/_manifests/tags/v1/current/link", LINK)
    registry = StoredRegistry(driver)
    assert (await registry.catalog("", 10)).entries == (name(longest),)
