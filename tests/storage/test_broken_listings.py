"""A folder that stops being readable in the middle of a listing hides content from collections.

NFS reports ELOOP when a server repeats entries, and a disk may fail at the `stat` that tells
whether an entry is a folder. Neither means that the folder is missing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.filesystem.reader import FileReader
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.repository.registry import StoredRegistry
from storage.values import paths
from tests.storage.content import APP, CONFIG, image, push_blob, push_manifest
from tests.storage.soundness import assert_sound

GRACE = 60.0


class Listing:
    """Replaces the result of `os.scandir` for a broken folder; `entry` wraps each entry."""

    def __init__(self, real: Any, entry: Callable[[int, os.DirEntry[str]], Any]) -> None:
        self._real = real
        self._entry = entry

    def __enter__(self) -> Listing:
        return self

    def __iter__(self) -> Iterator[Any]:
        return (self._entry(number, one) for number, one in enumerate(self._real))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._real.close()


class Unknown:
    """An entry of unknown type, whose `stat` fails."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Fail."""
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def stopping(code: int) -> Callable[[int, os.DirEntry[str]], Any]:
    """Let the reading fail after the first entry."""

    def entry(number: int, one: os.DirEntry[str]) -> Any:
        if number:
            raise OSError(code, os.strerror(code))
        return one

    return entry


def unknown(number: int, one: os.DirEntry[str]) -> Any:
    """Let the `stat` of the second entry fail."""
    return Unknown(one.name) if number else one


BREAKS = [
    pytest.param(stopping(errno.ELOOP), id="the server repeats entries"),
    pytest.param(stopping(errno.EIO), id="the disk fails"),
    pytest.param(unknown, id="a look at an entry fails"),
]


def break_listing(
    monkeypatch: pytest.MonkeyPatch, folder: str, entry: Callable[[int, os.DirEntry[str]], Any]
) -> None:
    """Break the folder, however it is passed to `os.scandir`."""
    real = os.scandir

    def scandir(path: int | str) -> Any:
        at = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path
        return Listing(real(path), entry) if at == folder else real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.fixture
def driver(tmp_path: Path) -> FilesystemDriver:
    """Return a driver of an empty tree."""
    return FilesystemDriver(tmp_path, sync=False, threads=2)


@pytest.fixture
async def files(driver: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Yield a tree with a few images, each with its own layer, and an orphan; all are old."""
    repository = StoredRegistry(driver, grace=GRACE).repository(APP)
    await push_blob(repository, CONFIG)
    for tag in ("v1", "v2", "v3"):
        await push_blob(repository, tag.encode())
        await push_manifest(repository, image(layers=(tag.encode(),)), tag)
    await push_blob(repository, b"orphan")
    for folder, _, names in os.walk(driver.root):
        for name in names:
            os.utime(os.path.join(folder, name), (1, 1))
    yield driver
    await driver.close()


@pytest.mark.parametrize("entry", BREAKS)
@pytest.mark.parametrize("folder", [f"{paths.revisions(APP)}/sha256", paths.tags(APP)])
async def test_a_listing_that_breaks_off_keeps_all_bytes(
    folder: str,
    entry: Callable[[int, os.DirEntry[str]], Any],
    files: FilesystemDriver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is reported; once it is over, only the orphan is deleted."""
    break_listing(monkeypatch, f"{files.root}/{folder}", entry)
    options = Options(GRACE, delete_untagged=True)
    async with planned(files, options) as plan:
        assert folder in {one.path for one in plan.coverage.trouble}
        swept = await carry_out(files, plan)
    assert (swept.manifests, swept.links, swept.blobs) == (0, 0, 0)
    monkeypatch.undo()
    async with planned(files, options) as plan:
        swept = await carry_out(files, plan)
    assert (swept.manifests, swept.links, swept.blobs) == (0, 1, 1)
    await assert_sound(files)


@pytest.mark.parametrize("entry", BREAKS)
@pytest.mark.parametrize("read", ["names", "folders", "entries"])
def test_a_listing_that_breaks_off_is_an_error(
    read: str,
    entry: Callable[[int, os.DirEntry[str]], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names alone need no `stat` of the entries."""
    for name in ("one", "two", "three"):
        (tmp_path / "folder" / name).mkdir(parents=True)
    break_listing(monkeypatch, str(tmp_path / "folder"), entry)
    reader = FileReader(str(tmp_path))
    if read == "names" and entry is unknown:
        assert sorted(reader.names("folder")) == ["one", "three", "two"]
        return
    with pytest.raises(OSError):
        list(getattr(reader, read)("folder"))


def test_a_link_whose_target_cannot_be_checked_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a folder; a link that dangles, or leads to itself, is no folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, target in (("gone", "nowhere"), ("loop", "loop"), ("long", "x" * 300)):
        (folder / name).symlink_to(target)
    reader = FileReader(str(tmp_path))
    assert reader.folders("folder") == []
    assert not any(entry.is_folder for entry in reader.entries("folder"))
    (folder / "long").unlink()  # the check of temporary folders cannot stat it
    break_listing(monkeypatch, str(folder), lambda _, one: Unknown(one.name))
    for read in (reader.folders, reader.entries):
        with pytest.raises(OSError):
            list(read("folder"))
