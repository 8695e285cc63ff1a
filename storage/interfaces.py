"""What a registry is, on one page. Read this first.

`Registry` opens a `Repository`; a repository has five parts, each small. The stored ones are in
`storage.registry` and `storage.repository`; anything that caches, mirrors or announces wraps them
with the same interface, and a handler never asks which one it holds.

Every method may raise `storage.errors`; each docstring names those a caller should expect.
Membership is always what the storage says now: what is remembered between calls is used only
while a look at the storage says that it still holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from storage.buffers import Buffer, HasDescriptor
from storage.digest import Digest
from storage.listing import Page
from storage.manifests import Manifest, StoredManifest
from storage.names import Reference, RepositoryName, Tag, UploadId
from storage.pipeline import Chunk
from storage.referrers import ReferrerPage


class Blob(Protocol):
    """A blob open for reading: its bytes stay readable until `close`, even if it is deleted."""

    size: int

    @property
    def file(self) -> HasDescriptor | None:
        """The file that holds exactly the blob, for a kernel to send from; None without one."""

    def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `stop`."""

    async def close(self) -> None:
        """Let go; calling it twice does nothing."""


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A file that holds all of a blob, `size` bytes.

    `path` is relative to the folder of all blobs, with slashes: `<alg>/<two hex>/<hex>/data`.
    """

    path: str
    size: int


# Where somebody else may fetch a blob. Storage that signs URLs would offer one of those here.
Place: TypeAlias = BlobFile


class Blobs(Protocol):
    """The blobs that are members of a repository."""

    async def size(self, digest: Digest) -> int:
        """Return a blob's size in bytes; raise `BlobUnknown`."""

    async def open(self, digest: Digest) -> Blob:
        """Open a blob, which the caller closes; raise `BlobUnknown`."""

    async def place(self, digest: Digest) -> Place | None:
        """Tell where somebody else may fetch a blob; raise `BlobUnknown`.

        None when it is to be had from `open` alone. What is there may be collected later, once
        the blob is a member nowhere; who was sent there then finds nothing.
        """

    async def mount(self, digest: Digest, source: RepositoryName) -> None:
        """Make a blob of `source` a member here, durably; raise `BlobUnknown` if it has none.

        Whether the caller may read `source` was decided before.
        """

    async def delete(self, digest: Digest) -> None:
        """End a blob's membership; raise `BlobUnknown`. Its bytes are collected later."""


class Manifests(Protocol):
    """The manifests that are members of a repository."""

    async def get(self, reference: Reference) -> StoredManifest:
        """Return the manifest of a digest, or the one a tag points to; raise `ManifestUnknown`."""

    async def put(self, manifest: Manifest, digest: Digest, tags: tuple[Tag, ...]) -> None:
        """Store a manifest whose bytes hash to `digest`, then point each of `tags` at it, durably.

        Raises `ReferencesUnknown` when the repository lacks what it refers to, and
        `ManifestInvalid` when it breaks the operator's rules. Putting the same one again is fine.

        Where tags may not be moved it raises `TagImmutable` if one of `tags` leads to another
        manifest, and changes nothing; a tag that leads to none may be set anew. Of several who set
        a new tag at once one is first, and the others are told so: their manifests, and those of
        their tags that nobody else set, may stay.
        """

    async def delete(self, digest: Digest) -> None:
        """End a manifest's membership: for a reader it and its tags go in one instant.

        Raises `ManifestUnknown`.
        """


class Tags(Protocol):
    """The tags of a repository."""

    async def page(self, after: str, limit: int | None, caller: Hashable = None) -> Page[Tag]:
        """List tags behind `after` in the order of their bytes; raise `RepositoryUnknown`.

        The lists that one `caller` asks for are read one after the other, so that they delay those
        of others little. When the caller is cancelled the work ends, unless other callers wait.
        """

    async def delete(self, tag: Tag) -> None:
        """Remove a tag alone: its manifest and other tags stay. Raises `ManifestUnknown`."""


class Upload(Protocol):
    """An upload session that the caller holds alone until it lets go of it."""

    @property
    def length(self) -> int:
        """How many bytes the session holds."""

    async def append(self, source: AsyncIterator[Buffer], chunk: Chunk) -> None:
        """Add what `source` yields. If it breaks off, what arrived is kept.

        What it yields may be written into again once the third one behind it is asked for.

        Raises `ChunkOutOfOrder` before reading anything and `ChunkSizeMismatch` after undoing.
        """

    async def commit(self, digest: Digest) -> None:
        """Make what is held a member blob, durably, and end the session.

        Raises `DigestInvalid`, which ends the session too, and `UploadUnknown` when somebody
        removed the session meanwhile.
        """

    async def discard(self) -> None:
        """End the session and drop what it holds."""


class Uploads(Protocol):
    """The upload sessions of a repository; they outlive requests, workers and restarts."""

    async def start(self, algorithm: str, owner: str = "") -> UploadId:
        """Begin a session that hashes with `algorithm`; its id says whose it is."""

    async def length(self, id: UploadId) -> int:
        """Return how many bytes a session holds; raise `UploadUnknown`."""

    def open(self, id: UploadId) -> AbstractAsyncContextManager[Upload]:
        """Hold a session alone; raise `UploadUnknown`, or `UploadBusy` if someone else does."""

    async def cancel(self, id: UploadId) -> None:
        """End a session and drop what it holds; raise `UploadUnknown` or `UploadBusy`."""


class Referrers(Protocol):
    """Which manifests of a repository have a given subject."""

    async def page(
        self, subject: Digest, artifact_type: str | None, after: str, limit: int
    ) -> ReferrerPage:
        """List referrers behind `after` in the order of their digests, of one type or of all.

        A page has at most `limit` entries and is bounded in bytes, so it may be empty and not be
        the last one. When the caller is cancelled the work ends, unless other callers wait for it.
        """


class Repository(Protocol):
    """One repository; it need not exist yet, the first push makes it."""

    @property
    def name(self) -> RepositoryName:
        """Its name."""

    @property
    def blobs(self) -> Blobs:
        """Its blobs."""

    @property
    def manifests(self) -> Manifests:
        """Its manifests."""

    @property
    def tags(self) -> Tags:
        """Its tags."""

    @property
    def uploads(self) -> Uploads:
        """Its upload sessions."""

    @property
    def referrers(self) -> Referrers:
        """Its referrers."""


# Whether a repository may be listed. It is asked on any thread, and must not block.
Visible: TypeAlias = Callable[[RepositoryName], bool]


class Registry(Protocol):
    """All repositories."""

    def repository(self, name: RepositoryName, *, moves_tags: bool = True) -> Repository:
        """Open a repository, existing or not; asks nothing of the storage.

        Without `moves_tags` its tags can be set once, and then not be moved to another manifest.
        """

    async def catalog(
        self,
        after: str,
        limit: int,
        visible: Visible | None = None,
        caller: Hashable = None,
    ) -> Page[RepositoryName]:
        """List repositories that hold a manifest, behind `after`, in the order of their bytes.

        Only those are listed that are `visible`, and the page is as full without the others.
        `caller` is as for tags.
        """

    async def holders(self, digest: Digest, caller: Hashable = None) -> list[RepositoryName]:
        """Find the repositories of which a blob is a member, in the order of their bytes.

        In a large registry only the first ones are searched. `caller` is as for tags.
        """

    async def remove(self, name: RepositoryName) -> None:
        """Remove a repository with all that is a member of it, durably; those below it stay.

        For a reader all of its manifests and tags go in one instant. Raises `RepositoryUnknown`.
        Its bytes are collected later.
        """
