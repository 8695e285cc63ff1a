"""The observer of file operations observes all of them: other tests rely on it."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.storage.file_operations import CHANGING, KINDS, Operation, watch


def _everything(root: str) -> None:
    """Make each kind of operation, by path, by open file and by name in an open folder."""
    os.mkdir(f"{root}/a")
    fd = os.open(f"{root}/a/old", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"01")
    os.pwrite(fd, b"2345", 2)
    os.ftruncate(fd, 3)
    os.fsync(fd)
    os.rename(f"{root}/a", f"{root}/b")
    os.pread(fd, 2, 1)
    os.fstat(fd)
    os.close(fd)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    os.listdir(folder)
    os.link("b/old", "new", src_dir_fd=folder, dst_dir_fd=folder)
    os.utime(f"{root}/new")
    os.unlink("new", dir_fd=folder)
    os.close(folder)
    os.unlink(f"{root}/b/old")
    os.rmdir(f"{root}/b")


EXPECTED = [
    ("mkdir", "a", "", 0, b""),
    ("create", "a/old", "", 0, b""),
    ("write", "a/old", "", 0, b"01"),
    ("write", "a/old", "", 2, b"2345"),
    ("truncate", "a/old", "", 3, b""),
    ("sync", "a/old", "", 0, b""),
    ("rename", "a", "b", 0, b""),
    ("read", "b/old", "", 1, b""),
    ("stat", "b/old", "", 0, b""),
    ("open", "", "", 0, b""),
    ("list", "", "", 0, b""),
    ("link", "b/old", "new", 0, b""),
    ("utime", "new", "", 0, b""),
    ("unlink", "new", "", 0, b""),
    ("unlink", "b/old", "", 0, b""),
    ("rmdir", "b", "", 0, b""),
]


@pytest.mark.parametrize("reads", [False, True])
def test_each_kind_is_reported_before_and_after(tmp_path: Path, reads: bool) -> None:
    """With its number, absolute paths and bytes; reads only if requested."""
    begun: list[Operation] = []
    done: list[Operation] = []
    root = str(tmp_path)
    with watch(tmp_path, begun.append, done.append, reads=reads):
        _everything(root)
    kinds = KINDS if reads else CHANGING
    assert begun == done
    assert [one.number for one in begun] == list(range(len(begun)))
    assert all(one.path.startswith(root) for one in begun)
    below = [
        (one.kind, one.path[len(root) + 1 :], one.target[len(root) + 1 :], one.offset, one.data)
        for one in begun
    ]
    assert below == [row for row in EXPECTED if row[0] in kinds]


def test_operations_on_whole_trees_are_observed(tmp_path: Path) -> None:
    """Creating and removing nested folders calls the same functions."""
    seen: list[str] = []
    with watch(tmp_path, lambda one: seen.append(f"{one.kind} {Path(one.path).name}")):
        os.makedirs(tmp_path / "a" / "b")
        shutil.rmtree(tmp_path / "a")
    assert seen == ["mkdir a", "mkdir b", "rmdir b", "rmdir a"]


def test_other_folders_and_callbacks_are_not_reported(tmp_path: Path) -> None:
    """A folder that shares a prefix is another folder; a callback may change anything."""
    root, other = tmp_path / "root", tmp_path / "root-not"
    seen: list[str] = []

    def before(operation: Operation) -> None:
        seen.append(operation.path)
        os.mkdir(root / "of the callback")

    root.mkdir()
    with watch(root, before):
        os.mkdir(other)
        os.mkdir(root / "mine")
    assert seen == [str(root / "mine")]
    assert sorted(os.listdir(root)) == ["mine", "of the callback"]


def test_a_refused_operation_is_not_made(tmp_path: Path) -> None:
    """The caller gets the error; everything is restored at the end of `watch`."""
    functions = {name: getattr(os, name) for name in ("mkdir", "open", "rename", "fsync")}

    def refuse(operation: Operation) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with watch(tmp_path, refuse), pytest.raises(OSError, match="no room"):
        os.mkdir(tmp_path / "a")
    assert os.listdir(tmp_path) == []
    assert functions == {name: getattr(os, name) for name in functions}


def test_threads_take_turns(tmp_path: Path) -> None:
    """Numbers follow the order of the operations, on any thread."""
    numbers: list[int] = []
    begun: list[int] = []

    def work(name: str) -> None:
        for at in range(50):
            os.mkdir(tmp_path / f"{name}-{at}")

    with watch(
        tmp_path, lambda one: begun.append(one.number), lambda one: numbers.append(one.number)
    ):
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert begun == numbers == list(range(200))
