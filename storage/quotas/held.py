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
from dataclasses import dataclass

from storage import paths
from storage.digest import CANONICAL, HEX_LENGTHS, Digest
from storage.drivers.base import Driver, View
from storage.errors import DigestInvalid, PathNotFound, UploadIdInvalid
from storage.links import read_link
from storage.names import RepositoryName, UploadId

# Some 20 MB; past it what is known is learned again.
_MOST_KNOWN = 50_000


class Sizes:
    """Sizes of content by the hex of its digest, which never change. Threads may share one.

    Two algorithms have no hex in common, and a folder of links names a hex: to make a digest of
    each of ten thousand would take longer than all the rest.
    """

    def __init__(self, most: int = _MOST_KNOWN) -> None:
        self._most = most
        self._known: dict[str, int] = {}

    def of(self, hexes: Iterable[str]) -> dict[str, int]:
        """Return what is known of some."""
        known = self._known
        return {hex: known[hex] for hex in hexes if hex in known}

    def note(self, hex: str, size: int) -> None:
        """Know a size from now on."""
        if len(self._known) >= self._most:
            self._known = {}  # others may be reading what was there
        self._known[hex] = size


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
    """All that counts: content by the hex of its digest, and sessions.

    `members` are linked. What is `ending` is said to become content, by a note that a crash or a
    wrong digest may leave behind: it counts, and is no reason to let anybody have it.
    """

    members: Mapping[str, int]
    ending: Mapping[str, int]
    uploads: Mapping[UploadId, int]

    def has(self, digest: Digest | None) -> bool:
        """Tell whether some content is a member."""
        return digest is not None and digest.hex in self.members

    def beside(self, upload: UploadId | None, digest: Digest | None = None) -> int:
        """Return how many bytes there are without those of one session, and of some content."""
        ending = {hex: size for hex, size in self.ending.items() if hex not in self.members}
        whole = sum(sum(each.values()) for each in (self.members, ending, self.uploads))
        session = 0 if upload is None else self.uploads.get(upload, 0)
        content = 0 if digest is None else self.members.get(digest.hex, ending.get(digest.hex, 0))
        return whole - session - content


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
    driver: Driver, name: RepositoryName, sizes: Sizes, *, thoroughly: bool = False
) -> Held:
    """Look at all that a repository holds.

    A folder for a link counts as one unless one looks `thoroughly`: who deletes with another
    registry leaves them behind. That takes a look at each link.
    """
    begun = await sessions(driver, name, thoroughly=thoroughly)

    def job(view: View) -> tuple[dict[str, int], dict[str, int]]:
        ending, found = dict(_ending(view, name, begun.without)), dict[str, int]()
        for folder in (paths.layers(name), paths.revisions(name)):
            for algorithm in HEX_LENGTHS:
                below = f"{folder}/{algorithm}"
                found.update(_linked(view, below, sizes, thoroughly=thoroughly))
        return found, ending

    return Held(*await driver.batch(job), begun.sizes)


async def content_at(
    driver: Driver, name: RepositoryName, digest: Digest
) -> tuple[Digest, int] | None:
    """Return under which digest a blob of a repository is stored, and its size; None without."""
    link = paths.layer_link(name, digest)
    found = await driver.batch(lambda view: _stored(view, digest, link))
    return next(iter(found.items()), None)


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


def _linked(view: View, folder: str, sizes: Sizes, *, thoroughly: bool) -> dict[str, int]:
    """Return the size of all that a folder of one algorithm has links to."""
    hexes = view.names(folder)
    found = sizes.of(hexes)
    if thoroughly:
        found = {hex: size for hex, size in found.items() if _is_link(view, _link(folder, hex))}
    for hex in [one for one in hexes if one not in found]:
        found.update(_learn(view, folder, hex, sizes))
    return found


def _learn(view: View, folder: str, hex: str, sizes: Sizes) -> Iterator[tuple[str, int]]:
    """Look at a member of which nothing is known; nothing comes of what is none."""
    algorithm = folder.rpartition("/")[2]
    try:
        digest = Digest.parse(f"{algorithm}:{hex}")
    except DigestInvalid:
        return
    for stored, size in _stored(view, digest, _link(folder, hex)).items():
        if size:  # else it was cut short, perhaps, and the next push brings it again
            sizes.note(stored.hex, size)
        yield stored.hex, size


def _link(folder: str, hex: str) -> str:
    return f"{folder}/{hex}/{paths.LINK}"


def _stored(view: View, digest: Digest, link: str) -> dict[Digest, int]:
    """Return under which digest a member is stored, and its size; nothing without a member."""
    if not _is_link(view, link):
        return {}
    found = view.stat(paths.blob(digest))
    if found is None and digest.algorithm != CANONICAL:
        # distribution stores it under the sha256 of its bytes, and says so in the link.
        digest = read_link(view, link) or digest
        found = view.stat(paths.blob(digest))
    return {} if found is None else {digest: found.size}


def _is_link(view: View, link: str) -> bool:
    """Tell whether there is a link; an empty one is what a crash of an older registry left."""
    found = view.stat(link)
    return found is not None and found.size > 0
