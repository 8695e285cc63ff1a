"""What is built on seeing file operations can fail only if all of them are seen."""

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
def test_each_kind_is_told_of_before_and_after(tmp_path: Path, reads: bool) -> None:
    """With its number, its absolute paths and what is written; those that look only if wanted."""
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


def test_what_python_does_for_a_whole_tree_is_seen(tmp_path: Path) -> None:
    """Making and removing nested folders goes through the same functions."""
    seen: list[str] = []
    with watch(tmp_path, lambda one: seen.append(f"{one.kind} {Path(one.path).name}")):
        os.makedirs(tmp_path / "a" / "b")
        shutil.rmtree(tmp_path / "a")
    assert seen == ["mkdir a", "mkdir b", "rmdir b", "rmdir a"]


def test_nothing_elsewhere_and_nothing_of_the_callback_s_is_told_of(tmp_path: Path) -> None:
    """A folder whose name begins alike is elsewhere; a callback may change what it likes."""
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


def test_what_is_refused_is_not_done(tmp_path: Path) -> None:
    """The caller gets the error, and everything is as before when the watch ends."""
    functions = {name: getattr(os, name) for name in ("mkdir", "open", "rename", "fsync")}

    def refuse(operation: Operation) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with watch(tmp_path, refuse), pytest.raises(OSError, match="no room"):
        os.mkdir(tmp_path / "a")
    assert os.listdir(tmp_path) == []
    assert functions == {name: getattr(os, name) for name in functions}


def test_threads_take_turns(tmp_path: Path) -> None:
    """Numbers are given in the order in which things happen, whoever does them."""
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
