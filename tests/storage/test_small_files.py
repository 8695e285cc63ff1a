"""Small files: what is remembered of them, and that no change of one goes unseen."""

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
from storage.drivers.filesystem.file_cache import SmallFiles
from storage.drivers.filesystem.mounts import is_local
from storage.errors import PathNotFound
from tests.support.drivers import AnyDriver

A, B = b"a" * 71, b"b" * 71
# Longer than the clock that stamps files stands still.
SETTLED_NS, SETTLING = 50_000_000, 0.3


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallFiles:
    """Give a reader that remembers what was left alone for a moment."""
    monkeypatch.setattr(timestamps, "SETTLED_NS", SETTLED_NS)
    return SmallFiles(str(tmp_path), most=2)


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """Give a file that was left alone for a moment."""
    path = tmp_path / "link"
    path.write_bytes(A)
    time.sleep(SETTLING)
    return path


@pytest.fixture(autouse=True)
def on_a_local_disk(tmp_path: Path) -> None:
    """Skip where nothing is remembered: these tests could not fail there."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        if not is_local(fd):
            pytest.skip("the temporary folder is on no local filesystem")
    finally:
        os.close(fd)


@pytest.fixture
def nothing_opens(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give a function after which no file can be opened: whoever reads one remembers it."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "as the test wants it")

    return lambda: monkeypatch.setattr(os, "open", refuse)


def test_what_is_left_alone_is_not_opened_again(
    files: SmallFiles, link: Path, nothing_opens: Callable[[], None]
) -> None:
    """A look is enough for the second read."""
    assert files.read("link") == A
    nothing_opens()
    assert files.read("link") == A


def test_what_changed_a_moment_ago_is_opened_again(
    files: SmallFiles, link: Path, nothing_opens: Callable[[], None]
) -> None:
    """Another change could have the same time."""
    link.write_bytes(A)
    assert files.read("link") == A
    nothing_opens()
    with pytest.raises(OSError, match="as the test wants it"):
        files.read("link")


def overwrite(link: Path) -> bytes:
    """Write as many other bytes in place."""
    with link.open("r+b") as file:
        file.write(B)
    return B


def overwrite_unnoticed(link: Path) -> bytes:
    """Do so, and put the time of change back to what it was."""
    before = link.stat()
    overwrite(link)
    os.utime(link, ns=(before.st_atime_ns, before.st_mtime_ns))
    return B


def replace(link: Path) -> bytes:
    """Rename another file over it, whose time of change is older."""
    other = link.with_name("other")
    other.write_bytes(B)
    os.utime(other, ns=(0, 0))
    other.rename(link)
    return B


def make_again(link: Path) -> bytes:
    """Remove it and make another, which may well get its inode."""
    link.unlink()
    link.write_bytes(B)
    return B


def empty(link: Path) -> bytes:
    """Leave nothing in it."""
    os.truncate(link, 0)
    return b""


def lead_elsewhere(link: Path) -> bytes:
    """Put a symbolic link there."""
    link.with_name("other").write_bytes(B)
    link.unlink()
    link.symlink_to("other")
    return B


@pytest.mark.parametrize(
    "change",
    [overwrite, overwrite_unnoticed, replace, make_again, empty, lead_elsewhere],
)
def test_a_change_is_seen(files: SmallFiles, link: Path, change: Callable[[Path], bytes]) -> None:
    """However a file comes to hold something else, that is what is read, at once and later."""
    assert files.read("link") == A
    expected = change(link)
    assert files.read("link") == expected
    time.sleep(SETTLING)
    assert [files.read("link") for _ in range(3)] == [expected] * 3


def test_what_is_gone_is_gone(files: SmallFiles, link: Path) -> None:
    """Being remembered does not make a file exist; nor does having been one make it a file."""
    assert files.read("link") == A
    link.rename(link.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        files.read("link")
    link.mkdir()
    with pytest.raises(IsADirectoryError):
        files.read("link")


@pytest.fixture
def new_driver(tmp_path: Path) -> AnyDriver:
    """Make the one driver that has files."""
    return FilesystemDriver(tmp_path, threads=1)


async def test_a_driver_remembers_and_sees_a_change(
    driver: AnyDriver, link: Path, nothing_opens: Callable[[], None]
) -> None:
    """Its small reads go this way, whole or cut, with the patience it has in service."""
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


def test_no_change_of_many_in_a_row_is_missed(files: SmallFiles, link: Path) -> None:
    """Written and read by turns, faster than the clock ticks, a read returns what was written."""
    fd = os.open(link, os.O_WRONLY)
    try:
        for _ in range(2000):
            for content in (A, B):
                os.pwrite(fd, content, 0)
                assert files.read("link") == content
    finally:
        os.close(fd)


def test_no_more_than_so_many_are_remembered(
    files: SmallFiles, tmp_path: Path, nothing_opens: Callable[[], None]
) -> None:
    """The one that was read first makes room."""
    for name in ("one", "two", "three"):
        (tmp_path / name).write_bytes(name.encode())
    time.sleep(SETTLING)
    for name in ("one", "two", "three"):
        assert files.read(name) == name.encode()
    nothing_opens()
    assert (files.read("two"), files.read("three")) == (b"two", b"three")
    with pytest.raises(OSError, match="as the test wants it"):
        files.read("one")


def test_no_more_than_a_few_bytes_are_read(files: SmallFiles, tmp_path: Path) -> None:
    """Of a file that is no link the beginning is enough."""
    (tmp_path / "large").write_bytes(bytes(SMALL * 3))
    time.sleep(SETTLING)
    assert [len(files.read("large")) for _ in range(2)] == [SMALL] * 2


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/uuid").exists(), reason="needs Linux's /proc")
def test_nothing_is_remembered_of_other_filesystems(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a file may change and look the same, as this one does at each read."""
    monkeypatch.setattr(timestamps, "SETTLED_NS", 0)
    files = SmallFiles("/proc/sys/kernel/random")
    assert len({files.read("uuid") for _ in range(5)}) == 5
