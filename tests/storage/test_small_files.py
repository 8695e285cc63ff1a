"""The cache of small files: no change of a file is missed."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from storage.drivers.base import SMALL
from storage.drivers.filesystem import timestamps
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.file_cache import FileCache
from storage.drivers.filesystem.mounts import is_local
from storage.errors import PathNotFound
from tests.support.drivers import AnyDriver

pytestmark = pytest.mark.disk

A, B = b"a" * 71, b"b" * 71
# Seconds. Longer than an interval of the clock from which ctimes are set.
SETTLED_NS, SETTLING = 50_000_000, 0.3


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileCache:
    """Return a reader that caches files after a short rest."""
    monkeypatch.setattr(timestamps, "SETTLED_NS", SETTLED_NS)
    return FileCache(str(tmp_path), most=2)


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """Return a file that is at rest."""
    path = tmp_path / "link"
    path.write_bytes(A)
    time.sleep(SETTLING)
    return path


@pytest.fixture(autouse=True)
def on_a_local_disk(tmp_path: Path) -> None:
    """Skip where nothing is cached: these tests could not fail there."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        if not is_local(fd):
            pytest.skip("the temporary folder is on no local filesystem")
    finally:
        os.close(fd)


@pytest.fixture
def nothing_opens(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which no file can be opened: a read that succeeds is cached."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "as the test wants it")

    return lambda: monkeypatch.setattr(os, "open", refuse)


def test_an_unchanged_file_is_not_opened_again(
    files: FileCache, link: Path, nothing_opens: Callable[[], None]
) -> None:
    """The second read only calls `stat`."""
    assert files.read("link") == A
    nothing_opens()
    assert files.read("link") == A


def test_a_file_that_just_changed_is_opened_again(
    files: FileCache, link: Path, nothing_opens: Callable[[], None]
) -> None:
    """Another change could get the same ctime."""
    link.write_bytes(A)
    assert files.read("link") == A
    nothing_opens()
    with pytest.raises(OSError, match="as the test wants it"):
        files.read("link")


def overwrite(link: Path) -> bytes:
    """Overwrite it in place with other bytes of the same length."""
    with link.open("r+b") as file:
        file.write(B)
    return B


def overwrite_unnoticed(link: Path) -> bytes:
    """Overwrite it, and restore the mtime."""
    before = link.stat()
    overwrite(link)
    os.utime(link, ns=(before.st_atime_ns, before.st_mtime_ns))
    return B


def replace(link: Path) -> bytes:
    """Rename another file over it, with an older mtime."""
    other = link.with_name("other")
    other.write_bytes(B)
    os.utime(other, ns=(0, 0))
    other.rename(link)
    return B


def make_again(link: Path) -> bytes:
    """Remove it and create another, which may get the same inode."""
    link.unlink()
    link.write_bytes(B)
    return B


def empty(link: Path) -> bytes:
    """Truncate it to zero bytes."""
    os.truncate(link, 0)
    return b""


def lead_elsewhere(link: Path) -> bytes:
    """Replace it by a symbolic link."""
    link.with_name("other").write_bytes(B)
    link.unlink()
    link.symlink_to("other")
    return B


@pytest.mark.parametrize(
    "change",
    [overwrite, overwrite_unnoticed, replace, make_again, empty, lead_elsewhere],
)
def test_a_change_is_seen(files: FileCache, link: Path, change: Callable[[Path], bytes]) -> None:
    """However a file is changed, its new content is read, immediately and later."""
    assert files.read("link") == A
    expected = change(link)
    assert files.read("link") == expected
    time.sleep(SETTLING)
    assert [files.read("link") for _ in range(3)] == [expected] * 3


def test_a_deleted_file_is_missing(files: FileCache, link: Path) -> None:
    """A file that is cached, or was replaced by a folder, does not exist any more."""
    assert files.read("link") == A
    link.rename(link.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        files.read("link")
    link.mkdir()
    with pytest.raises(IsADirectoryError):
        files.read("link")


@pytest.fixture
def new_driver(tmp_path: Path) -> AnyDriver:
    """Return the filesystem driver."""
    return FilesystemDriver(tmp_path, threads=1)


async def test_a_driver_caches_files_and_sees_changes(
    driver: AnyDriver, link: Path, nothing_opens: Callable[[], None]
) -> None:
    """Its small reads are cached, whole or cut, with the delay it has in service."""
    await anyio.sleep(2.5)
    assert await driver.read("link") == A
    overwrite(link)
    assert await driver.read("link") == B
    await anyio.sleep(2.5)
    assert await driver.read("link") == B
    nothing_opens()
    assert (await driver.read("link"), await driver.read("link", 3)) == (B, B[:3])
    link.unlink()
    with pytest.raises(PathNotFound):
        await driver.read("link")


def test_no_change_of_many_in_a_row_is_missed(files: FileCache, link: Path) -> None:
    """Writes and reads alternate, faster than the clock ticks; each read returns the last write."""
    fd = os.open(link, os.O_WRONLY)
    try:
        for _ in range(2000):
            for content in (A, B):
                os.pwrite(fd, content, 0)
                assert files.read("link") == content
    finally:
        os.close(fd)


def test_the_number_of_cached_files_is_bounded(
    files: FileCache, tmp_path: Path, nothing_opens: Callable[[], None]
) -> None:
    """The one that was cached first is evicted."""
    for name in ("one", "two", "three"):
        (tmp_path / name).write_bytes(name.encode())
    time.sleep(SETTLING)
    for name in ("one", "two", "three"):
        assert files.read(name) == name.encode()
    nothing_opens()
    assert (files.read("two"), files.read("three")) == (b"two", b"three")
    with pytest.raises(OSError, match="as the test wants it"):
        files.read("one")


def test_no_more_than_a_few_bytes_are_read(files: FileCache, tmp_path: Path) -> None:
    """Only the beginning of a large file is read."""
    (tmp_path / "large").write_bytes(bytes(SMALL * 3))
    time.sleep(SETTLING)
    assert [len(files.read("large")) for _ in range(2)] == [SMALL] * 2


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/uuid").exists(), reason="needs Linux's /proc")
def test_nothing_is_remembered_of_other_filesystems(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a file may change without a change of its `stat`, as this one does."""
    monkeypatch.setattr(timestamps, "SETTLED_NS", 0)
    files = FileCache("/proc/sys/kernel/random")
    assert len({files.read("uuid") for _ in range(5)}) == 5
