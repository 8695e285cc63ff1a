"""The bytes of a blob: read once from beginning to end and hashed, or only asked for."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from storage import paths
from storage.digest import Digest
from storage.drivers.base import Driver, FileInfo, OpenFile, View
from storage.errors import PathNotFound
from storage.maintenance.scrub.pace import Pace
from storage.maintenance.scrub.readings import Facts, Readings

# More than this many corrupt blobs are found, but not recalled when links are looked at.
_MOST_RECALLED = 10_000
# Bytes.
_SMALL = 1 << 20
ABSENT = "is not there"


@dataclass(frozen=True, slots=True)
class Examined:
    """What a blob's file was found to be: `actual` is what its bytes hash to.

    It is None where no file is. `state` tells, when compared with a later look, whether the file
    was changed or replaced after the reading began.
    """

    state: FileInfo | None
    actual: Digest | None


async def examine(driver: Driver, digest: Digest, pace: Pace) -> Examined:
    """Read and hash what is stored for `digest`; raise OSError when it can't be read."""
    state, content = await driver.batch(partial(_look, digest))
    if content is not None:
        await pace.spend(len(content.raw))
        return Examined(state, content.digest)
    try:
        file = await driver.open(paths.blob(digest))
    except PathNotFound:
        return Examined(None, None)
    try:
        return Examined(state, await _hash(file, digest.algorithm, pace))
    finally:
        await file.close()


class _Content(NamedTuple):
    """The bytes of a small blob, and what they hash to."""

    raw: bytes
    digest: Digest


def _look(digest: Digest, view: View) -> tuple[FileInfo | None, _Content | None]:
    """Look at a blob, and read it if it is small: then another hop to a thread would cost more."""
    path = paths.blob(digest)
    state = view.stat(path)
    if state is None or state.size > _SMALL:
        return state, None
    try:
        raw = view.read(path, state.size + 1)
    except PathNotFound:
        return state, None
    if len(raw) > state.size:  # it was replaced by a longer one
        return state, None
    return state, _Content(raw, Digest.of(raw, digest.algorithm))


async def _hash(file: OpenFile, algorithm: str, pace: Pace) -> Digest:
    hasher = hashlib.new(algorithm)
    async for chunk in file.stream(0, file.size):
        await asyncio.to_thread(hasher.update, chunk)
        await pace.spend(len(chunk))
    return Digest(algorithm, hasher.hexdigest())


@dataclass(frozen=True, slots=True)
class Contents:
    """Answers for links whether what they lead to is there.

    `corrupt` are the corrupt blobs that are still in their places, each with the state in which it
    was read; those of an earlier run have none. A link to one is damaged as well.
    """

    corrupt: dict[Digest, FileInfo | None] = field(default_factory=dict)
    readings: Readings = field(default_factory=Readings)
    may_read: bool = True

    def recalled(self) -> Contents:
        """Return the same for a look under a lock: it reads no manifest, it recalls them."""
        return replace(self, may_read=False)

    def facts_of(self, view: View, digest: Digest) -> Facts | None:
        """Return what a manifest says; None when its bytes are not here, or can't be recalled."""
        return self.readings.read(view, digest) if self.may_read else self.readings.recall(digest)

    def recall(self, digest: Digest, state: FileInfo | None = None) -> None:
        """Remember that a blob is corrupt, unless there are very many."""
        if len(self.corrupt) < _MOST_RECALLED:
            self.corrupt[digest] = state

    def lacks(self, view: View, digest: Digest) -> str | None:
        """Return what is wrong with the bytes of `digest`, as far as a look tells; None if fine."""
        found = view.stat(paths.blob(digest))
        if found is None:
            return ABSENT
        if not found.size and not digest.is_empty:
            return "was cut to nothing"
        is_corrupt = digest in self.corrupt and self.corrupt[digest] in (None, found)
        return "is corrupt" if is_corrupt else None
