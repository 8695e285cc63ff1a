"""The usage of a repository, read from disk.

The order of the reads matters, because deletions and commits do not wait for the quota lock:

1. A session's reservation, then its data: without a reservation the data does not grow, and only
   the holder of the quota lock, which reads here, creates reservations.
2. Where the data is missing, the reservation again: a commit writes the digest into it before it
   moves the data.
3. The members, last: a commit removes the session only once its blob is a member.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from storage.drivers.base import Driver, Reader
from storage.errors import DigestInvalid, PathNotFound, UploadIdInvalid
from storage.repository.quotas.members import Members, PartCache
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, UploadId


@dataclass(frozen=True, slots=True)
class Reservation:
    """The bytes that a session may grow to and, once it is being committed, its blob's digest."""

    size: int
    digest: Digest | None = None

    def __bytes__(self) -> bytes:
        return f"{self.size} {self.digest or ''}".encode()

    @staticmethod
    def parse(content: bytes) -> Reservation | None:
        """Parse what `bytes` returned; None if it is damaged, as after a power cut."""
        size, _, digest = content.decode("ascii", "replace").partition(" ")
        try:
            return Reservation(int(size), Digest.parse(digest) if digest else None)
        except (ValueError, DigestInvalid):
            return None


@dataclass(frozen=True, slots=True)
class Sessions:
    """The upload sessions of a repository: the bytes that each counts, and those without data."""

    sizes: Mapping[UploadId, int]
    without: frozenset[UploadId]


@dataclass(frozen=True, slots=True)
class RepositoryUsage:
    """Everything that counts, in bytes: members, blobs being committed, and sessions.

    `doubtful` are the members that were checked one by one. `ending` are the blobs that
    reservations say are being committed; a crash or a wrong digest may leave such a reservation
    behind. They count unless they are members, but do not make the blob a member.
    """

    members: int
    doubtful: Mapping[str, int]
    ending: Mapping[str, int]
    uploads: Mapping[UploadId, int]

    def has(self, digest: Digest | None, size: int) -> bool:
        """Return whether `digest` is among the doubtful members, with at least `size` bytes."""
        return digest is not None and self.doubtful.get(digest.hex, -1) >= size

    def total_without(self, upload: UploadId | None, digest: Digest | None = None) -> int:
        """Return the usage without the session `upload`, and without `digest` if it is ending."""
        whole = self.members + sum(self.ending.values()) + sum(self.uploads.values())
        session = 0 if upload is None else self.uploads.get(upload, 0)
        content = 0 if digest is None else self.ending.get(digest.hex, 0)
        return whole - session - content

    def grown(self, size: int, digest: Digest | None, upload: UploadId | None) -> RepositoryUsage:
        """Return the usage after a session grows to `size` bytes, or `digest` is added."""
        if upload is not None:
            return replace(self, uploads={**self.uploads, upload: size})
        ending = {hex: size for hex, size in self.ending.items() if not digest or hex != digest.hex}
        return replace(self, members=self.members + size, ending=ending)


async def read_sessions(
    driver: Driver, name: RepositoryName, *, thoroughly: bool = False
) -> Sessions:
    """Read the sessions of a repository.

    With `thoroughly`, the reservation of a session that no process has locked does not count: its
    process died, or will reserve again before the session grows.
    """
    reservations = await driver.batch(lambda reader: dict(_reservations(reader, name)))
    sizes: dict[UploadId, int] = {}
    for id, reservation in reservations.items():
        with suppress(PathNotFound):
            data = paths.upload_data(name, id)
            length = await driver.staging.length(data)
            size = max(length, reservation.size if reservation else 0)
            is_void = thoroughly and size > length and not await driver.staging.is_locked(data)
            sizes[id] = length if is_void else size
    return Sessions(sizes, frozenset(reservations.keys() - sizes.keys()))


async def read_usage(
    driver: Driver, name: RepositoryName, part_cache: PartCache, *, thoroughly: bool = False
) -> RepositoryUsage:
    """Read the usage of a repository, `thoroughly` as `Members` and `read_sessions` define it."""
    active = await read_sessions(driver, name, thoroughly=thoroughly)

    def job(reader: Reader) -> RepositoryUsage:
        ending = dict(_ending(reader, name, active.without))
        members = Members(reader, name, part_cache.of(name), thorough=thoroughly)
        part_cache.put(name, members.parts)
        others = {hex: size for hex, size in ending.items() if hex not in members}
        return RepositoryUsage(members.size, members.doubtful, others, active.sizes)

    return await driver.batch(job)


def _reservations(
    reader: Reader, name: RepositoryName
) -> Iterator[tuple[UploadId, Reservation | None]]:
    for text in reader.folders(paths.uploads(name)):
        with suppress(UploadIdInvalid):
            id = UploadId.parse(text)
            yield id, _reservation(reader, name, id)


def _reservation(reader: Reader, name: RepositoryName, id: UploadId) -> Reservation | None:
    try:
        return Reservation.parse(reader.read(paths.upload_reserved(name, id)))
    except PathNotFound:
        return None


def _ending(
    reader: Reader, name: RepositoryName, ids: Iterable[UploadId]
) -> Iterator[tuple[str, int]]:
    """Yield the digest and size of the blobs as which sessions without data are committed."""
    for id in ids:
        reservation = _reservation(reader, name, id)
        if reservation is not None and reservation.digest is not None:
            yield reservation.digest.hex, reservation.size
