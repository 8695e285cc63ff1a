"""A quota reads a repository rarely, and only what may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from storage.drivers.base import FileInfo, Reader
from storage.drivers.wrapping import WrappedDriver, WrappedReader
from storage.errors import QuotaExceeded
from storage.repository.quotas import members
from storage.repository.quotas.admission import Admission, Growth
from storage.repository.quotas.locks import QuotaLocks
from storage.repository.quotas.members import Members, PartCache
from storage.repository.quotas.usage import read_usage
from storage.values import paths
from storage.values.digest import Digest
from tests.storage.content import APP, OTHER, push_blob, push_manifest, raw
from tests.storage.limited import document, limited, on_disk
from tests.support.drivers import AnyDriver

T = TypeVar("T")

MANIFEST = len(raw(document(0)))
LAYERS = f"{paths.layers(APP)}/sha256"


class _WatchedReader(WrappedReader):
    def __init__(self, inner: Reader, listed: list[str], seen: list[str]) -> None:
        super().__init__(inner)
        self._listed = listed
        self._seen = seen

    def names(self, path: str) -> list[str]:
        self._listed.append(path)
        return super().names(path)

    def stat(self, path: str) -> FileInfo | None:
        self._seen.append(path)
        return super().stat(path)


class WatchedDriver(WrappedDriver):
    """Records which folders were listed, and which files were looked up."""

    def __init__(self, inner: AnyDriver) -> None:
        super().__init__(inner)
        self.listed: list[str] = []
        self.seen: list[str] = []

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Watch a reader."""
        return await super().batch(
            lambda reader: job(_WatchedReader(reader, self.listed, self.seen))
        )

    def forget(self) -> None:
        """Clear the records."""
        self.listed.clear()
        self.seen.clear()


async def _fill(driver: AnyDriver, number: int) -> int:
    """Push blobs of 1 byte, 2 bytes and so on; return the total size."""
    repository = limited(driver).repository(APP)
    for at in range(number):
        await push_blob(repository, b"a" * (at + 1))
    return number * (number + 1) // 2


async def test_only_the_part_of_a_new_member_is_read_again(driver: AnyDriver) -> None:
    """Nothing is read while nothing changed."""
    there, watched, part_cache = await _fill(driver, 64), WatchedDriver(driver), PartCache()
    assert (await read_usage(watched, APP, part_cache)).members == there
    assert len(watched.seen) == 128
    watched.forget()
    assert (await read_usage(watched, APP, part_cache)).members == there
    assert watched.seen == []
    new = await push_blob(limited(driver).repository(APP), b"b" * 100)
    assert (await read_usage(watched, APP, part_cache)).members == there + 100
    assert {path.split("/")[-2][0] for path in watched.seen} == {new.hex[0]}


@pytest.mark.parametrize("many", [1, 4096])
async def test_changed_members_are_added_up_again(
    driver: AnyDriver, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """In a repository of few members, and in one of many, whose parts are smaller."""
    monkeypatch.setattr(members, "_MANY", many)
    part_cache, repository = PartCache(), limited(driver).repository(APP)
    blobs = []
    for at in range(30):
        blobs.append(await push_blob(repository, b"a" * (at + 1)))
        await push_manifest(repository, document(at))
        assert (await read_usage(driver, APP, part_cache)).members == await on_disk(driver, APP)
    for blob in blobs[::2]:
        await repository.blobs.delete(blob)
        assert (await read_usage(driver, APP, part_cache)).members == await on_disk(driver, APP)


async def test_a_link_written_into_an_existing_folder_counts(driver: AnyDriver) -> None:
    """Another registry creates the folder first. The content may be written after its link."""
    source, part_cache = limited(driver).repository(OTHER), PartCache()
    first = await push_blob(source, b"a" * 600)
    link = paths.layer_link(APP, first)
    await driver.write(link.replace("/link", "/stray"), b"")
    assert (await read_usage(driver, APP, part_cache)).members == 0
    await driver.write(link, str(first).encode())
    assert (await read_usage(driver, APP, part_cache)).members == 600
    second = Digest.of(b"b" * 300)
    await driver.write(paths.layer_link(APP, second), str(second).encode())
    assert (await read_usage(driver, APP, part_cache)).members == 600
    await push_blob(source, b"b" * 300)
    assert (await read_usage(driver, APP, part_cache)).members == 900


async def test_what_is_a_blob_and_a_manifest_counts_once(driver: AnyDriver) -> None:
    """As long as it is one of the two."""
    repository, part_cache, content = limited(driver).repository(APP), PartCache(), raw(document(1))
    digest = await push_blob(repository, content)
    await push_manifest(repository, document(1))
    assert (await read_usage(driver, APP, part_cache)).members == len(content)
    await repository.blobs.delete(digest)
    assert (await read_usage(driver, APP, part_cache)).members == len(content)
    await repository.manifests.delete(digest)
    assert (await read_usage(driver, APP, part_cache)).members == 0


async def test_the_cache_is_bounded(driver: AnyDriver) -> None:
    """What is not cached is added up again."""
    there, part_cache = await _fill(driver, 20), PartCache(limit=1000)
    for _ in range(2):
        assert (await read_usage(driver, APP, part_cache)).members == there
        assert not part_cache.of(APP)


def test_a_repository_of_any_size_is_cached() -> None:
    """All its parts together cost at most the share of one repository."""
    part = members.Part(bytes(32), 1, ())
    part_cache = PartCache()
    part_cache.put(APP, {f"{at:03x}": part for at in range(4096)})
    assert len(part_cache.of(APP)) == 4096


async def test_names_of_any_kind_are_told_apart(driver: AnyDriver) -> None:
    """Another program may have created any names."""
    there, part_cache = await _fill(driver, 3), PartCache()
    for name in ("x", "\udcff", "a" * 63, "A" * 64, "a\nb"):
        await driver.write(f"{LAYERS}/{name}/link", b"sha256:x")
        assert (await read_usage(driver, APP, part_cache)).members == there


async def test_existing_content_is_pushed_again_without_a_listing(driver: AnyDriver) -> None:
    """A mount of a blob, and a manifest under another tag, look up one link."""
    watched = WatchedDriver(driver)
    blob = await push_blob(limited(driver).repository(OTHER), b"a" * 100)
    repository = limited(watched, 100_000).repository(APP)
    await repository.blobs.mount(blob, OTHER)
    await push_manifest(repository, document(1), "v1")
    watched.forget()
    await repository.blobs.mount(blob, OTHER)
    await push_manifest(repository, document(1), "v2")
    assert LAYERS not in watched.listed


async def test_a_blob_of_two_digests_is_mounted_again_in_a_full_repository(
    driver: AnyDriver,
) -> None:
    """distribution stores a blob that was pushed by its sha512 under the sha256."""
    source = limited(driver).repository(OTHER)
    digest, alias = await push_blob(source, b"a" * 600), Digest.of(b"a" * 600, "sha512")
    await driver.write(paths.layer_link(OTHER, alias), str(digest).encode())
    repository = limited(driver, 600).repository(APP)
    for one in (alias, alias, digest, alias):
        await repository.blobs.mount(one, OTHER)
    assert (await read_usage(driver, APP, PartCache())).members == 600


async def test_one_read_serves_all_requests_of_a_turn(driver: AnyDriver) -> None:
    """To the last byte. A second read serves all that are refused."""
    await _fill(driver, 4)
    watched = WatchedDriver(driver)
    admission = Admission(watched, APP, PartCache())
    for at in range(9):
        assert await admission.admit(Growth(10, Digest.of(bytes([at]))), 100) == 80 - at * 10
    for _ in range(3):
        with pytest.raises(QuotaExceeded):
            await admission.admit(Growth(91, Digest.of(b"more")), 100)
    assert await admission.admit(Growth(90, Digest.of(b"all")), 100) == 0
    assert watched.listed.count(LAYERS) == 2


async def test_manifests_that_wait_for_the_lock_share_a_read(driver: AnyDriver) -> None:
    """While another process holds the lock, all requests wait for the same turn."""
    watched = WatchedDriver(driver)
    repository = limited(watched, 10 * MANIFEST).repository(APP)
    async with QuotaLocks(driver).of(APP):
        pushes = [asyncio.create_task(push_manifest(repository, document(at))) for at in range(10)]
        await asyncio.sleep(0)
    await asyncio.gather(*pushes)
    assert watched.listed.count(LAYERS) == 1
    assert await on_disk(driver, APP) == 10 * MANIFEST


async def test_a_read_distinguishes_members_from_other_digests(driver: AnyDriver) -> None:
    """By the hex of their digests."""
    digest = await push_blob(limited(driver).repository(APP), b"a")
    there = await driver.batch(lambda reader: Members(reader, APP, {}, thorough=False))
    assert digest.hex in there
    assert Digest.of(b"b").hex not in there
