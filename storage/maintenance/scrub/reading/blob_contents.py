"""The content of blobs: read and hashed completely, or only checked for existence."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from storage.drivers.base import Driver, FileInfo, OpenFile, Reader
from storage.errors import PathNotFound
from storage.maintenance.scrub.reading.manifest_facts import Facts, FactsCache
from storage.maintenance.scrub.reading.read_rate import ReadRate
from storage.values import paths
from storage.values.digest import Digest

# Corrupt blobs that are remembered for the check of links; more are only reported.
_MOST_CORRUPT = 10_000
# Bytes.
_SMALL = 1 << 20
ABSENT = "is missing"


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of reading a blob: `actual` is the digest of its bytes, None without a file.

    `state` was taken before the reading: if a later `stat` differs, the file was changed since.
    """

    state: FileInfo | None
    actual: Digest | None


async def examine(driver: Driver, digest: Digest, rate: ReadRate) -> Examined:
    """Read and hash the blob stored for `digest`; raise OSError when it can't be read."""
    state, content = await driver.batch(partial(_look, digest))
    if content is not None:
        await rate.spend(len(content.raw))
        return Examined(state, content.digest)
    try:
        file = await driver.open(paths.blob(digest))
    except PathNotFound:
        return Examined(None, None)
    try:
        return Examined(state, await _hash(file, digest.algorithm, rate))
    finally:
        await file.close()


class _Content(NamedTuple):
    """The bytes of a small blob and their digest."""

    raw: bytes
    digest: Digest


def _look(digest: Digest, reader: Reader) -> tuple[FileInfo | None, _Content | None]:
    """Stat a blob, and read it if that costs less than another hop to a thread."""
    path = paths.blob(digest)
    state = reader.stat(path)
    if state is None or state.size > _SMALL:
        return state, None
    try:
        raw = reader.read(path, state.size + 1)
    except PathNotFound:
        return state, None
    if len(raw) > state.size:  # it was replaced by a longer file
        return state, None
    return state, _Content(raw, Digest.of(raw, digest.algorithm))


async def _hash(file: OpenFile, algorithm: str, rate: ReadRate) -> Digest:
    hasher = hashlib.new(algorithm)
    async for chunk in file.stream(0, file.size):
        await asyncio.to_thread(hasher.update, chunk)
        await rate.spend(len(chunk))
    return Digest(algorithm, hasher.hexdigest())


@dataclass(frozen=True, slots=True)
class Contents:
    """Answers whether the target of a link exists and is intact.

    `corrupt` are the corrupt blobs that were not moved, each with its state when it was read; those
    of an earlier run have no state. A link to one of them is damaged as well.
    """

    corrupt: dict[Digest, FileInfo | None] = field(default_factory=dict)
    facts: FactsCache = field(default_factory=FactsCache)
    may_read: bool = True

    def without_reading(self) -> Contents:
        """Return a copy for checks under a lock: it reads no manifest, only cached facts."""
        return replace(self, may_read=False)

    def facts_of(self, reader: Reader, digest: Digest) -> Facts | None:
        """Return the facts of a manifest; None when it is missing, or under a lock not cached."""
        return self.facts.read(reader, digest) if self.may_read else self.facts.get(digest)

    def remember_corrupt(self, digest: Digest, state: FileInfo | None = None) -> None:
        """Remember a corrupt blob, up to a limit."""
        if len(self.corrupt) < _MOST_CORRUPT:
            self.corrupt[digest] = state

    def lacks(self, reader: Reader, digest: Digest) -> str | None:
        """Return what a `stat` shows to be wrong with the blob of `digest`; None if nothing is."""
        info = reader.stat(paths.blob(digest))
        if info is None:
            return ABSENT
        if not info.size and not digest.is_empty:
            return "is empty"
        is_corrupt = digest in self.corrupt and self.corrupt[digest] in (None, info)
        return "is corrupt" if is_corrupt else None
