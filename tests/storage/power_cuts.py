"""The states that a power failure may leave of a `Disk`, chosen by rules and at random."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import TypeAlias

from tests.storage.losing_disk import ROOT, Content, Disk, File, Folder

# Which of a file's contents is left; how many changes of its names are left of a folder, by node.
Contents: TypeAlias = Callable[[File], Content]
Names: TypeAlias = Callable[[int, Folder], int]


@dataclass(frozen=True)
class Tree:
    """A folder as it is found after a power failure."""

    entries: tuple[tuple[str, Content | Tree], ...]
    modified: int

    @cached_property
    def shape(self) -> object:
        """What distinguishes two trees for a reader that ignores times."""
        return tuple((name, _shape(entry)) for name, entry in self.entries)

    def put(self, folder: str) -> None:
        """Write everything into an empty folder, times included."""
        for name, entry in self.entries:
            path = f"{folder}/{name}"
            if isinstance(entry, Tree):
                os.mkdir(path)
                entry.put(path)
            else:
                with open(path, "wb") as file:
                    file.write(entry.data)
                _set_time(path, entry.modified)
        _set_time(folder, self.modified)


def read_tree(folder: str) -> Tree:
    """Return the content of a folder."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    return Tree(tuple((entry.name, _read(entry)) for entry in entries), os.stat(folder).st_mtime_ns)


def _read(entry: os.DirEntry[str]) -> Content | Tree:
    if entry.is_dir(follow_symlinks=False):
        return read_tree(entry.path)
    with open(entry.path, "rb") as file:
        return Content(file.read(), entry.stat().st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Left:
    """A state that a power failure left, and its explanation."""

    how: str
    tree: Tree


EVERYTHING = "nothing is lost"


def latest(disk: Disk) -> Iterator[Left]:
    """Yield the states in which no name is lost: they differ with every change."""
    for how in (EVERYTHING, "names without bytes"):
        yield Left(how, _tree(disk, _all_names, _WAYS[how]))


def losses(disk: Disk, chance: random.Random, samples: int) -> Iterator[Left]:
    """Yield the states in which more is lost: they differ before an fsync; `samples` at random.

    Each folder in turn is the only one to lose its changes, and the only one to keep them; each
    file is the only one to lose bytes.
    """
    yield Left("all is lost", _tree(disk, _no_names, _durable))
    for node, folder in disk.folders.items():
        if folder.since:
            yield Left(f"/{folder.path} forgot", _tree(disk, _all_names_but(node), _now))
            yield Left(f"/{folder.path} alone knows", _tree(disk, _names_of(node), _now))
    for how, contents in _WAYS.items():
        yield Left(how, _tree(disk, _all_names, contents))
    for file in disk.files.values():
        if file.since:
            yield Left("a file is zeros", _tree(disk, _all_names, _only(file, _zeros)))
            yield Left("a file lost bytes", _tree(disk, _all_names, _only(file, _durable)))
    for sample in range(samples):
        yield Left(f"chance, {sample}", _tree(disk, _some_names(chance), _any_of(chance)))


def _now(file: File) -> Content:
    return file.now


def _durable(file: File) -> Content:
    return file.durable


def _zeros(file: File) -> Content:
    """All lengths are right; bytes that were added since are zeros."""
    return Content(_kept(file).ljust(len(file.now.data), b"\0"), file.now.modified)


def _half(file: File) -> Content:
    """Half of the bytes that were added since are left."""
    kept = len(_kept(file))
    added = len(file.now.data) - kept
    return Content(file.now.data[: kept + added // 2], file.now.modified)


def _half_zeros(file: File) -> Content:
    """Half of the bytes that were added since are left, followed by zeros."""
    return Content(_half(file).data.ljust(len(file.now.data), b"\0"), file.now.modified)


def _kept(file: File) -> bytes:
    """Return the durable prefix that was not changed since."""
    pairs = zip(file.durable.data, file.now.data, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return file.durable.data[:same]


_WAYS: dict[str, Contents] = {
    EVERYTHING: _now,
    "names without bytes": _durable,
    "names, and zeros for bytes": _zeros,
    "names, and half of the bytes": _half,
    "names, and half of the bytes, then zeros": _half_zeros,
}


def _only(one: File, contents: Contents) -> Contents:
    return lambda file: contents(file) if file is one else file.now


def _any_of(chance: random.Random) -> Contents:
    def any(file: File) -> Content:
        if not file.since:
            return file.durable
        upto = chance.randint(0, len(file.since))
        return chance.choice(list(_WAYS.values()))(File(file.durable, file.since[:upto]))

    return any


def _all_names(node: int, folder: Folder) -> int:
    return len(folder.since)


def _no_names(node: int, folder: Folder) -> int:
    return 0


def _all_names_but(one: int) -> Names:
    return lambda node, folder: 0 if node == one else len(folder.since)


def _names_of(one: int) -> Names:
    return lambda node, folder: len(folder.since) if node == one else 0


def _some_names(chance: random.Random) -> Names:
    return lambda _, folder: chance.randint(0, len(folder.since))


def _tree(disk: Disk, names: Names, contents: Contents) -> Tree:
    """Follow the names that are left from the root; a node with two names is the same in both."""
    seen: dict[int, Content | Tree] = {}

    def folder(node: int) -> Tree:
        held = disk.folders[node]
        found, modified = held.after(names(node, held))
        return Tree(tuple((name, entry(found[name])) for name in sorted(found)), modified)

    def entry(node: int) -> Content | Tree:
        if node not in seen:
            seen[node] = contents(disk.files[node]) if node in disk.files else folder(node)
        return seen[node]

    return folder(ROOT)


def _shape(entry: Content | Tree) -> object:
    return entry.shape if isinstance(entry, Tree) else entry.data


def _set_time(path: str, modified: int) -> None:
    if modified:
        os.utime(path, ns=(modified, modified))
