"""The cache of large folders: it is valid while the folder's inode and times are unchanged."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.drivers.filesystem import folder_cache, mounts, timestamps
from storage.drivers.filesystem.folder_cache import FolderCache
from storage.drivers.filesystem.mounts import is_local

pytestmark = pytest.mark.disk

MANY = [f"v{number:02d}" for number in range(20)]
# How long a folder rests before it is remembered in these tests, and how long they let it: more
# than the clock that files are stamped with takes to advance.
SETTLED_NS, REST = 30_000_000, 0.05


class Reads:
    """Counts how often folders are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._scandir = os.scandir
        monkeypatch.setattr(os, "scandir", self._count)

    def _count(self, folder: int | str) -> Any:
        self.count += 1
        return self._scandir(folder)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Count from here on."""
    return Reads(monkeypatch)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder be cached after a short rest."""
    monkeypatch.setattr(timestamps, "SETTLED_NS", SETTLED_NS)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that counts as large, on a filesystem with reliable times."""
    _require_local(tmp_path)
    monkeypatch.setattr(folder_cache, "_MANY", len(MANY) // 2)
    return _filled(tmp_path / "tags")


def _require_local(path: Path) -> None:
    if not _is_local(path):
        pytest.skip("the temporary folder is on a filesystem of which nothing is remembered")


def _is_local(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return is_local(fd)
    finally:
        os.close(fd)


def _filled(folder: Path) -> Path:
    folder.mkdir()
    for name in MANY:
        (folder / name).mkdir()
    return folder


def _rest() -> None:
    time.sleep(REST)


def test_a_large_folder_at_rest_is_read_once(large: Path, reads: Reads, soon: None) -> None:
    """The second listing does not read it, whatever changes inside its subfolders."""
    remembered = FolderCache()
    _rest()
    assert sorted(remembered.names(str(large))) == MANY
    (large / "v00/current").mkdir()
    assert remembered.names(str(large)) == MANY
    assert reads.count == 1


def test_a_caller_may_change_its_list_of_names(large: Path, reads: Reads, soon: None) -> None:
    """The cache keeps a copy."""
    remembered = FolderCache()
    _rest()
    for _ in range(3):
        names = remembered.names(str(large))
        assert sorted(names) == MANY
        names.clear()
    assert reads.count == 1


def _appears(folder: Path) -> list[str]:
    (folder / "new").mkdir()
    return ["new", *MANY]


def _goes(folder: Path) -> list[str]:
    (folder / MANY[7]).rmdir()
    return [*MANY[:7], *MANY[8:]]


def _moves_in(folder: Path) -> list[str]:
    (folder.parent / "aside").mkdir()
    (folder.parent / "aside").rename(folder / "new")
    return ["new", *MANY]


def _moves_out(folder: Path) -> list[str]:
    (folder / MANY[0]).rename(folder.parent / "aside")
    return MANY[1:]


def _moves_within(folder: Path) -> list[str]:
    (folder / MANY[0]).rename(folder / "new")
    return ["new", *MANY[1:]]


def _moves_over_another(folder: Path) -> list[str]:
    (folder / MANY[0]).rename(folder / MANY[1])
    return MANY[1:]


def _becomes_a_file(folder: Path) -> list[str]:
    (folder / MANY[0]).rmdir()
    (folder / MANY[0]).write_bytes(b"")
    return MANY[1:]


def _is_swapped_for_another(folder: Path) -> list[str]:
    (folder / MANY[0]).rmdir()
    (folder / "new").mkdir()
    return ["new", *MANY[1:]]


def _changes_without_its_mtime(folder: Path) -> list[str]:
    before = folder.stat()
    _is_swapped_for_another(folder)
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    return ["new", *MANY[1:]]


def _is_replaced(folder: Path) -> list[str]:
    times = folder.stat()
    folder.rename(folder.parent / "old")
    shutil.copytree(folder.parent / "old", folder)
    (folder / MANY[0]).rename(folder / "new")
    os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))
    return ["new", *MANY[1:]]


def _is_restored(folder: Path) -> list[str]:
    old = folder.parent / "old"
    folder.rename(old)
    _filled(folder).rename(folder.parent / "younger")
    (old / MANY[0]).rmdir()
    old.rename(folder)
    return MANY[1:]


def _vanishes_and_comes_back(folder: Path) -> list[str]:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "alone").mkdir()
    return ["alone"]


CHANGES = [
    _appears,
    _goes,
    _moves_in,
    _moves_out,
    _moves_within,
    _moves_over_another,
    _becomes_a_file,
    _is_swapped_for_another,
    _changes_without_its_mtime,
    _is_replaced,
    _is_restored,
    _vanishes_and_comes_back,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_immediately(
    change: Callable[[Path], list[str]], large: Path, reads: Reads, soon: None
) -> None:
    """After any change a cached folder is read again, also when it is at rest."""
    remembered = FolderCache()
    _rest()
    for _ in range(2):
        assert sorted(remembered.names(str(large))) == MANY
    assert reads.count == 1
    expected = sorted(change(large))
    for _ in range(2):
        assert sorted(remembered.names(str(large))) == expected
        _rest()
    assert sorted(remembered.names(str(large))) == expected


def test_a_file_that_is_named_like_a_folder_is_not_listed(
    large: Path, reads: Reads, soon: None
) -> None:
    """Neither from the disk nor from the cache; nor is a pipe."""
    (large / "stray").write_bytes(b"")
    os.mkfifo(large / "pipe")
    remembered = FolderCache()
    _rest()
    assert [sorted(remembered.names(str(large))) for _ in range(3)] == [MANY] * 3
    assert reads.count == 1


def test_a_symbolic_link_is_checked_each_time(large: Path, soon: None) -> None:
    """It counts as a folder while its target is one; the times of the large folder do not tell."""
    target = large.parent / "target"
    target.mkdir()
    (large / "link").symlink_to(target)
    remembered = FolderCache()
    _rest()
    for _ in range(2):
        assert sorted(remembered.names(str(large))) == ["link", *MANY]
    target.rmdir()
    assert sorted(remembered.names(str(large))) == MANY
    target.mkdir()
    assert sorted(remembered.names(str(large))) == ["link", *MANY]


def test_a_dangling_link_is_no_folder(large: Path, soon: None) -> None:
    """A link to itself does not stop a listing, either."""
    (large / "gone").symlink_to("nowhere")
    (large / "loop").symlink_to("loop")
    (large / "link").symlink_to(MANY[0])
    remembered = FolderCache()
    _rest()
    for _ in range(2):
        assert sorted(remembered.names(str(large))) == ["link", *MANY]


def test_a_folder_that_just_changed_is_read_again(large: Path, reads: Reads) -> None:
    """Another change could get the same ctime."""
    remembered = FolderCache()
    for count in range(1, 4):
        assert sorted(remembered.names(str(large))) == MANY
        assert reads.count == count


def test_a_clock_that_was_set_back_makes_no_folder_old(
    large: Path, reads: Reads, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with a ctime in the future may get the same ctime again."""
    behind = time.clock_gettime_ns(time.CLOCK_REALTIME) - 3_600_000_000_000
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: behind)
    remembered = FolderCache()
    _rest()
    for count in range(1, 3):
        assert sorted(remembered.names(str(large))) == MANY
        assert reads.count == count


@pytest.mark.parametrize(
    ("age", "nanoseconds", "settled"),
    [(3, 5, True), (3, 0, False), (1, 5, False), (0, 5, False), (-3, 5, False)],
)
def test_a_state_is_settled_if_its_time_is_old_and_fine(
    age: int, nanoseconds: int, settled: bool
) -> None:
    """Times in whole seconds do not distinguish changes, nor do recent ones."""
    seconds = time.time_ns() // 10**9 - age
    times = {"st_ctime_ns": seconds * 10**9 + nanoseconds}
    state = os.stat_result((0,) * 10, times)
    assert state.st_ctime_ns == times["st_ctime_ns"]
    assert timestamps.is_settled(state) is settled


def test_unknown_filesystems_are_not_cached(
    large: Path, reads: Reads, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may not update the times of folders."""
    monkeypatch.setattr(mounts, "LOCAL", frozenset())
    remembered = FolderCache()
    _rest()
    for count in range(1, 4):
        assert sorted(remembered.names(str(large))) == MANY
        assert reads.count == count


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_proc_is_no_local_filesystem(tmp_path: Path) -> None:
    """Nor is a closed descriptor."""
    assert not _is_local(Path("/proc"))
    assert not is_local(-1)


def test_hundreds_are_many(tmp_path: Path, reads: Reads, soon: None) -> None:
    """A folder with three hundred folders is cached."""
    _require_local(tmp_path)
    for number in range(300):
        (tmp_path / str(number)).mkdir()
    remembered = FolderCache()
    _rest()
    assert len(remembered.names(str(tmp_path))) == len(remembered.names(str(tmp_path))) == 300
    assert reads.count == 1


def test_a_small_folder_is_not_cached(tmp_path: Path, reads: Reads, soon: None) -> None:
    """It is read each time, and takes no memory."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_bytes(b"")
    remembered = FolderCache()
    _rest()
    for count in range(1, 3):
        assert sorted(remembered.names(str(tmp_path))) == ["a", "b"]
        assert reads.count == count


def test_the_cache_is_bounded(large: Path, reads: Reads, soon: None) -> None:
    """A folder may use an eighth of the memory; the least recently used is evicted."""
    others = [_filled(large.parent / f"other{n}") for n in range(16)]
    _rest()
    cramped, roomy = FolderCache(limit=8_000), FolderCache(limit=16_000)
    for _ in range(2):
        assert sorted(cramped.names(str(large))) == MANY
    assert reads.count == 2
    for folder in (large, *others, others[-1]):
        roomy.names(str(folder))
    assert reads.count == 2 + 17
    roomy.names(str(large))
    assert reads.count == 2 + 18


@pytest.mark.parametrize("path", ["missing", "file", "file/below", "loop"])
def test_a_missing_folder_has_no_names(path: str, tmp_path: Path) -> None:
    """A folder that can't be read raises an error; no descriptor stays open."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    before = len(os.listdir("/proc/self/fd"))
    assert FolderCache().names(str(tmp_path / path)) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_stays_open(large: Path, soon: None) -> None:
    """No descriptor of a folder stays open, whether it is read or cached."""
    remembered = FolderCache()
    _rest()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        remembered.names(str(large))
    assert len(os.listdir("/proc/self/fd")) == before
