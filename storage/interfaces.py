"""The registry's protocols, on one page. Read this first.

`Registry` opens a `Repository`, which has five small parts. The stored implementations are in
`storage.repository.registry` and `storage.repository.repository`. A cache, a mirror or a notifier
wraps them with the same protocols, and handlers cannot tell the difference.

Every method may raise `storage.errors`; each docstring names those a caller should expect.
Membership is always what the storage says now: a cached link is used only after the driver has
confirmed that its file is unchanged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from storage.content.referrer_store import ReferrerPage
from storage.values.buffers import Buffer, HasDescriptor
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.listing import Page
from storage.values.manifests import Manifest, StoredManifest
from storage.values.names import Reference, RepositoryName, Tag, UploadId


class Blob(Protocol):
    """A blob open for reading: its bytes stay readable until `close`, even if it is deleted."""

    size: int

    @property
    def file(self) -> HasDescriptor | None:
        """The open file that holds exactly the blob, for zero-copy sends; None without one."""

    def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `stop`."""

    async def close(self) -> None:
        """Release the blob; a second call does nothing."""


@dataclass(frozen=True, slots=True)
class BlobLocation:
    """Where another program can fetch a blob: its file, `size` bytes long.

    `path` is relative to the folder of all blobs, with slashes: `<alg>/<two hex>/<hex>/data`.
    """

    path: str
    size: int


class Blobs(Protocol):
    """The blobs that are members of a repository."""

    async def size(self, digest: Digest) -> int:
        """Return a blob's size in bytes; raise `BlobUnknown`."""

    async def open(self, digest: Digest) -> Blob:
        """Open a blob, which the caller closes; raise `BlobUnknown`."""

    async def locate(self, digest: Digest) -> BlobLocation | None:
        """Return where another program can fetch a blob; raise `BlobUnknown`.

        Returns None when only `open` can read it. Once no repository has the blob, a collection
        may delete the file, also between this call and the fetch.
        """

    async def mount(self, digest: Digest, source: RepositoryName) -> None:
        """Make a blob of `source` a member here, durably; raise `BlobUnknown` if it is no member.

        The caller has already checked that the client may read `source`.
        """

    async def delete(self, digest: Digest) -> None:
        """Delete a blob from the repository; raise `BlobUnknown`. Its bytes are collected later."""


class Manifests(Protocol):
    """The manifests that are members of a repository."""

    async def get(self, reference: Reference) -> StoredManifest:
        """Return the manifest of a digest, or the one a tag points to; raise `ManifestUnknown`."""

    async def put(self, manifest: Manifest, digest: Digest, tags: tuple[Tag, ...]) -> None:
        """Store a manifest whose bytes hash to `digest`, then point each of `tags` at it, durably.

        Raises `ReferencesUnknown` when the repository lacks content that it refers to, and
        `ManifestInvalid` when it violates the operator's policy. Storing it again is not an error.

        Where tags are immutable, raises `TagImmutable` if one of `tags` points to another manifest,
        and changes nothing; a tag that points to no manifest may be set again. When several
        callers set a new tag concurrently, one succeeds and the others get `TagImmutable`; their
        manifests, and the tags that only they set, may stay.
        """

    async def delete(self, digest: Digest) -> None:
        """Delete a manifest and its tags, atomically for readers; raise `ManifestUnknown`."""


class Tags(Protocol):
    """The tags of a repository."""

    async def page(self, after: str, limit: int | None, caller: Hashable = None) -> Page[Tag]:
        """List tags after `after` in byte order; raise `RepositoryUnknown`.

        The listings of one `caller` run one after the other, so that they delay other callers
        little. Cancelling the caller ends the work, unless another caller waits for its result.
        """

    async def delete(self, tag: Tag) -> None:
        """Delete only the tag; its manifest and other tags stay. Raises `ManifestUnknown`."""


class Upload(Protocol):
    """An upload session that is open, and exclusively locked, in this request."""

    @property
    def length(self) -> int:
        """The number of bytes received so far."""

    async def append(self, source: AsyncIterator[Buffer], chunk: DeclaredRange) -> None:
        """Append what `source` yields. If `source` fails, what it yielded before is kept.

        `source` may reuse a buffer once the third buffer after it is requested.

        Raises `ChunkOutOfOrder` before it reads anything, and `ChunkSizeMismatch` after it has
        restored the session's previous length.
        """

    async def commit(self, digest: Digest) -> None:
        """Store the received bytes as a blob of the repository, durably, and end the session.

        Raises `DigestInvalid` if they hash to another digest, which ends the session too, and
        `UploadUnknown` if the session was removed meanwhile.
        """

    async def discard(self) -> None:
        """End the session and delete its bytes."""


class Uploads(Protocol):
    """The upload sessions of a repository; they outlive requests, workers and restarts."""

    async def start(self, algorithm: str, owner: str = "") -> UploadId:
        """Start a session that hashes with `algorithm`; its id encodes the owner."""

    async def length(self, id: UploadId) -> int:
        """Return how many bytes a session has received; raise `UploadUnknown`."""

    def open(self, id: UploadId) -> AbstractAsyncContextManager[Upload]:
        """Lock a session exclusively; raise `UploadUnknown`, or `UploadBusy` if it is locked."""

    async def cancel(self, id: UploadId) -> None:
        """End a session and delete its bytes; raise `UploadUnknown` or `UploadBusy`."""


class Referrers(Protocol):
    """The manifests of a repository that have a given subject."""

    async def page(
        self, subject: Digest, artifact_type: str | None, after: str, limit: int
    ) -> ReferrerPage:
        """List referrers after `after` by digest, of one artifact type or of all.

        A page has at most `limit` entries and is bounded in bytes, so even an empty page need not
        be the last one. Cancelling the caller ends the work, unless another caller waits for it.
        """


class Repository(Protocol):
    """One repository; it need not exist yet, the first push creates it."""

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


# Whether a repository may be listed. It is called on any thread, and must not block.
Visible: TypeAlias = Callable[[RepositoryName], bool]


class Registry(Protocol):
    """All repositories."""

    def repository(self, name: RepositoryName, *, moves_tags: bool = True) -> Repository:
        """Open a repository, existing or not, without reading from the storage.

        Without `moves_tags`, a tag that is set cannot be moved to another manifest.
        """

    async def catalog(
        self,
        after: str,
        limit: int,
        visible: Visible | None = None,
        caller: Hashable = None,
    ) -> Page[RepositoryName]:
        """List the repositories after `after` that have a manifest, in byte order.

        Repositories that are not `visible` are skipped and do not count towards `limit`. `caller`
        is as for tags.
        """

    async def holders(self, digest: Digest, caller: Hashable = None) -> list[RepositoryName]:
        """Return the repositories that have a blob, in byte order.

        In a large registry only the first repositories are searched. `caller` is as for tags.
        """

    async def remove(self, name: RepositoryName) -> None:
        """Delete a repository with its blobs, manifests, tags and upload sessions, durably.

        Repositories below it stay. For readers the deletion is atomic. The bytes are collected
        later. Raises `RepositoryUnknown`.
        """
