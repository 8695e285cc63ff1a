"""What a repository holds, as the disk says now.

The order of looks matters, as nobody who shrinks or commits waits for whoever looks. The note of a
session is read before its data: without a note the data grows no more, for who looks is the only
one to give promises. Where the data is gone the note is read again, because a commit writes there
what it commits before it takes the data away; and members come last, because a session goes only
once its blob is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from storage import paths
from storage.digest import Digest
from storage.drivers.base import Driver, View
from storage.errors import DigestInvalid, PathNotFound, UploadIdInvalid
from storage.names import RepositoryName, UploadId
from storage.quotas.members import Members, Tallies


@dataclass(frozen=True, slots=True)
class Promise:
    """How many bytes a session may hold, and once it is committed the blob that it becomes."""

    size: int
    digest: Digest | None = None

    def __bytes__(self) -> bytes:
        return f"{self.size} {self.digest or ''}".encode()

    @staticmethod
    def parse(content: bytes) -> Promise | None:
        """Read what `bytes` wrote; None for anything else, which a power cut may leave."""
        size, _, digest = content.decode("ascii", "replace").partition(" ")
        try:
            return Promise(int(size), Digest.parse(digest) if digest else None)
        except (ValueError, DigestInvalid):
            return None


@dataclass(frozen=True, slots=True)
class Sessions:
    """The upload sessions of a repository: what each holds, or may; and those without data."""

    sizes: Mapping[UploadId, int]
    without: frozenset[UploadId]


@dataclass(frozen=True, slots=True)
class Held:
    """All that counts, in bytes: members, what is ending, and sessions.

    `doubtful` are those members that were looked at one by one. What is `ending` is said to become
    content, by a note that a crash or a wrong digest may leave behind. It counts unless it is a
    member, and gives no right to the blob.
    """

    members: int
    doubtful: Mapping[str, int]
    ending: Mapping[str, int]
    uploads: Mapping[UploadId, int]

    def has(self, digest: Digest | None, size: int) -> bool:
        """Tell whether some content is among the doubtful, with no less than `size`."""
        return digest is not None and self.doubtful.get(digest.hex, -1) >= size

    def beside(self, upload: UploadId | None, digest: Digest | None = None) -> int:
        """Return how much there is without one session, and some content that is no member."""
        whole = self.members + sum(self.ending.values()) + sum(self.uploads.values())
        session = 0 if upload is None else self.uploads.get(upload, 0)
        content = 0 if digest is None else self.ending.get(digest.hex, 0)
        return whole - session - content

    def grown(self, size: int, digest: Digest | None, upload: UploadId | None) -> Held:
        """Return what is held once a session holds `size` bytes, or else some content does."""
        if upload is not None:
            return replace(self, uploads={**self.uploads, upload: size})
        ending = {hex: size for hex, size in self.ending.items() if not digest or hex != digest.hex}
        return replace(self, members=self.members + size, ending=ending)


async def sessions(driver: Driver, name: RepositoryName, *, thoroughly: bool = False) -> Sessions:
    """Look at the sessions of a repository.

    A promise counts unless one looks `thoroughly`, and nobody has the session: then who was
    promised is dead, or will ask again before it grows.
    """
    promised = await driver.batch(lambda view: dict(_promises(view, name)))
    sizes: dict[UploadId, int] = {}
    for id, promise in promised.items():
        with suppress(PathNotFound):
            data = paths.upload_data(name, id)
            length = await driver.staging.length(data)
            size = max(length, promise.size if promise else 0)
            is_void = thoroughly and size > length and not await driver.staging.is_held(data)
            sizes[id] = length if is_void else size
    return Sessions(sizes, frozenset(promised.keys() - sizes.keys()))


async def held(
    driver: Driver, name: RepositoryName, tallies: Tallies, *, thoroughly: bool = False
) -> Held:
    """Look at all that a repository holds, `thoroughly` as `Members` and `sessions` define it."""
    begun = await sessions(driver, name, thoroughly=thoroughly)

    def job(view: View) -> Held:
        ending = dict(_ending(view, name, begun.without))
        members = Members(view, name, tallies.of(name), thorough=thoroughly)
        tallies.note(name, members.parts)
        others = {hex: size for hex, size in ending.items() if hex not in members}
        return Held(members.size, members.doubtful, others, begun.sizes)

    return await driver.batch(job)


def _promises(view: View, name: RepositoryName) -> Iterator[tuple[UploadId, Promise | None]]:
    for text in view.folders(paths.uploads(name)):
        with suppress(UploadIdInvalid):
            id = UploadId.parse(text)
            yield id, _promise(view, name, id)


def _promise(view: View, name: RepositoryName, id: UploadId) -> Promise | None:
    try:
        return Promise.parse(view.read(paths.upload_reserved(name, id)))
    except PathNotFound:
        return None


def _ending(view: View, name: RepositoryName, ids: Iterable[UploadId]) -> Iterator[tuple[str, int]]:
    """Yield the blobs that sessions without data become."""
    for id in ids:
        promise = _promise(view, name, id)
        if promise is not None and promise.digest is not None:
            yield promise.digest.hex, promise.size
