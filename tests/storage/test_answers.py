"""Lookups of references are cached, and used only while the links on disk are unchanged."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from storage.drivers.filesystem import timestamps
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.mounts import is_local
from storage.errors import ManifestUnknown
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import APP, push_image

# Longer than the clock that stamps files stands still.
SETTLED_NS, SETTLING = 50_000_000, 0.3
LATEST = Tag("latest")


class Site:
    """A registry with a warm cache, and another one on the same folder with a cache of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.drivers = FilesystemDriver(root), FilesystemDriver(root)
        self.here, self.elsewhere = (
            StoredRegistry(driver).repository(APP) for driver in self.drivers
        )

    def at(self, path: str) -> Path:
        """Return the file of a driver's path."""
        return self._root / path

    async def pulled(self) -> Digest | None:
        """Pull by tag."""
        try:
            return (await self.here.manifests.get(LATEST)).digest
        except ManifestUnknown:
            return None


@pytest.fixture
def new_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Make a site whose cache accepts a link that was unchanged for a moment."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        if not is_local(fd):
            pytest.skip("nothing is remembered here, so these tests could not fail")
    finally:
        os.close(fd)
    monkeypatch.setattr(timestamps, "SETTLED_NS", SETTLED_NS)
    return Site(tmp_path)


@pytest.fixture
async def site(new_site: Site) -> AsyncIterator[Site]:
    """Give a site, and close it."""
    yield new_site
    for driver in new_site.drivers:
        await driver.close()


def _in_place(site: Site, first: Digest, second: Digest) -> None:
    link = site.at(paths.tag_current_link(APP, LATEST))
    link.write_text(str(second))


def _by_rename(site: Site, first: Digest, second: Digest) -> None:
    link = site.at(paths.tag_current_link(APP, LATEST))
    link.with_name("new").write_text(str(second))
    link.with_name("new").rename(link)


def _tag_folder_goes(site: Site, first: Digest, second: Digest) -> None:
    site.at(paths.tag(APP, LATEST)).rename(site.at("aside"))


def _revision_goes(site: Site, first: Digest, second: Digest) -> None:
    site.at(paths.revision_link(APP, first)).unlink()


def _revision_is_emptied(site: Site, first: Digest, second: Digest) -> None:
    site.at(paths.revision_link(APP, first)).write_bytes(b"")


def _repository_goes(site: Site, first: Digest, second: Digest) -> None:
    shutil.rmtree(site.at(paths.repository(APP)))


def _repository_is_moved(site: Site, first: Digest, second: Digest) -> None:
    site.at(paths.repository(APP)).rename(site.at("moved"))


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        (_in_place, True),
        (_by_rename, True),
        (_tag_folder_goes, False),
        (_revision_goes, False),
        (_revision_is_emptied, False),
        (_repository_goes, False),
        (_repository_is_moved, False),
    ],
)
async def test_a_change_by_another_program_is_seen(
    site: Site, change: Callable[[Site, Digest, Digest], None], moves: bool
) -> None:
    """Whatever happens to the links, the next pull returns what they say."""
    first = await push_image(site.here, "latest")
    second = await push_image(site.here, "other", layer=b"another")
    await anyio.sleep(SETTLING)
    assert [await site.pulled() for _ in range(3)] == [first] * 3
    await anyio.to_thread.run_sync(change, site, first, second)
    assert await site.pulled() == (second if moves else None)


async def test_a_cached_lookup_checks_links_without_reading_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unchanged link is not opened; otherwise these tests would prove nothing."""
    digest = await push_image(site.here, "latest")
    await anyio.sleep(SETTLING)
    assert await site.pulled() == digest

    def refuse(*_: object, **__: object) -> int:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(os, "open", refuse)
    assert await site.pulled() == digest


async def test_a_push_by_another_process_is_seen_by_the_next_pull(site: Site) -> None:
    """The next pull finds each of many moves of a tag by another process."""
    first = await push_image(site.here, "latest")
    await anyio.sleep(SETTLING)
    assert await site.pulled() == first
    for number in range(20):
        moved = await push_image(site.elsewhere, "latest", layer=b"layer %d" % number)
        assert await site.pulled() == moved
    await site.elsewhere.manifests.delete(moved)
    assert await site.pulled() is None
