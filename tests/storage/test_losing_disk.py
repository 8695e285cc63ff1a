"""The model of a disk that loses what was not synced: what it may leave, and what not."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.storage.file_operations import watch
from tests.storage.losing_disk import Content, Disk, Recorder
from tests.storage.power_cuts import Tree, latest, losses, read_tree


def _left(tmp_path: Path, work: Callable[[Path], None]) -> list[dict[str, bytes]]:
    """Do some work in an empty folder; return all states that a power failure may leave."""
    root = tmp_path / "root"
    root.mkdir()
    recorder = Recorder(root)
    with watch(root, lambda _: None, recorder.after):
        work(root)
    disk = Disk()
    for event in recorder.log:
        disk.apply(event)
    left = [*losses(disk, random.Random(1), samples=50), *latest(disk)]
    return [_files(one.tree) for one in left]


def _files(tree: Tree, above: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, entry in tree.entries:
        if isinstance(entry, Tree):
            found |= _files(entry, f"{above}{name}/")
        else:
            found[f"{above}{name}"] = entry.data
    return found


def _put(path: Path, content: bytes, *, sync: bool = True) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, content)
    if sync:
        os.fsync(fd)
    os.close(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def test_synced_files_with_synced_names_survive(tmp_path: Path) -> None:
    """A file survives if its bytes, its name and its folder's name are durable."""

    def work(root: Path) -> None:
        os.mkdir(root / "a")
        _put(root / "a" / "tmp", b"new")
        os.rename(root / "a" / "tmp", root / "a" / "f")
        _sync(root / "a")
        _sync(root)

    assert all(left == {"a/f": b"new"} for left in _left(tmp_path, work))


def test_bytes_that_were_not_synced_are_lost_in_every_way(tmp_path: Path) -> None:
    """They are complete, missing, zeros, or half of them; earlier durable bytes stay."""

    def work(root: Path) -> None:
        _put(root / "f", b"old,")
        _put(root / "f", b"old,new!", sync=False)
        _sync(root)

    held = {left["f"] for left in _left(tmp_path, work)}
    assert held == {
        b"old,new!",
        b"old,",
        b"old,\0\0\0\0",
        b"old,ne",
        b"old,ne\0\0",
    }


def test_a_name_is_not_durable_by_its_file_s_fsync(tmp_path: Path) -> None:
    """A new file in a folder that was not synced may be missing."""
    left = _left(tmp_path, lambda root: _put(root / "f", b"new"))
    assert {} in left
    assert {"f": b"new"} in left


def test_a_lost_folder_loses_its_durable_files(tmp_path: Path) -> None:
    """An fsync of a folder does not make the folder's own name durable."""

    def work(root: Path) -> None:
        os.mkdir(root / "a")
        _put(root / "a" / "f", b"new")
        _sync(root / "a")

    assert {frozenset(left) for left in _left(tmp_path, work)} == {frozenset(), frozenset({"a/f"})}


def test_names_of_one_folder_are_lost_from_the_end(tmp_path: Path) -> None:
    """The second of two new names never exists without the first."""

    def work(root: Path) -> None:
        _put(root / "1", b"one")
        _put(root / "2", b"two")

    assert {frozenset(left) for left in _left(tmp_path, work)} == {
        frozenset(),
        frozenset("1"),
        frozenset("12"),
    }


def test_folders_lose_names_independently(tmp_path: Path) -> None:
    """Of a rename between two folders either half may be lost; within one, never a half."""

    def work(root: Path) -> None:
        os.mkdir(root / "a")
        os.mkdir(root / "b")
        _put(root / "a" / "f", b"new")
        os.rename(root / "a" / "f", root / "a" / "g")
        for folder in (root / "a", root):
            _sync(folder)
        os.rename(root / "a" / "g", root / "b" / "g")

    assert {frozenset(left) for left in _left(tmp_path, work)} == {
        frozenset({"a/g"}),
        frozenset({"b/g"}),
        frozenset({"a/g", "b/g"}),
        frozenset(),
    }


def test_a_removal_that_was_not_synced_is_undone(tmp_path: Path) -> None:
    """A removed file may be restored, with its durable content; not if the removal was synced."""

    def work(root: Path) -> None:
        os.mkdir(root / "a")
        for path in (root / "a" / "f", root / "g"):
            _put(path, b"old")
            _sync(path.parent)
            os.unlink(path)
        _sync(root)

    left = _left(tmp_path, work)
    assert {} in left
    assert {"a/f": b"old"} in left
    assert not any("g" in one for one in left)


def test_a_replaced_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    """A synced file that is renamed over another is never empty, missing or mixed."""

    def work(root: Path) -> None:
        _put(root / "f", b"old")
        _sync(root)
        _put(root / "tmp", b"new one")
        os.rename(root / "tmp", root / "f")

    assert {left["f"] for left in _left(tmp_path, work)} == {b"old", b"new one"}


def test_a_truncation_may_be_lost(tmp_path: Path) -> None:
    """Truncated bytes may be restored until the file is synced."""

    def work(root: Path) -> None:
        _put(root / "f", b"0123456789")
        _sync(root)
        os.truncate(root / "f", 4)

    assert {left["f"] for left in _left(tmp_path, work)} == {b"0123456789", b"0123"}


def test_times_are_as_durable_as_bytes(tmp_path: Path) -> None:
    """An mtime that was set, and not synced, may be the previous one."""
    root = tmp_path / "root"
    root.mkdir()
    recorder = Recorder(root)
    with watch(root, lambda _: None, recorder.after):
        _put(root / "f", b"old")
        _sync(root)
        before = (root / "f").stat().st_mtime_ns
        os.utime(root / "f", ns=(1, 1))
    disk = Disk()
    for event in recorder.log:
        disk.apply(event)
    trees = [one.tree for one in losses(disk, random.Random(1), samples=20)]
    assert {dict(tree.entries)["f"] for tree in trees} == {
        Content(b"old", before),
        Content(b"old", 1),
    }


def test_a_state_is_restored_in_a_folder(tmp_path: Path) -> None:
    """Names, bytes and times are restored, those of folders as well."""
    tree = Tree((("a", Tree((("f", Content(b"new", 3)),), 5)), ("g", Content(b"", 7))), 9)
    tree.put(str(tmp_path))
    assert read_tree(str(tmp_path)) == tree
