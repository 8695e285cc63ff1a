"""Wrappers that refuse operations which the configuration disables.

They apply to every route: another registry checked such a setting only on some of its routes
(CVE-2026-41888).
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager

from storage.errors import OperationDisabled
from storage.interfaces import (
    Blob,
    BlobLocation,
    Blobs,
    Manifests,
    Referrers,
    Repository,
    Tags,
    Upload,
    Uploads,
)
from storage.repository.wrapping import WrappedRegistry
from storage.values.digest import Digest
from storage.values.listing import Page
from storage.values.manifests import Manifest, StoredManifest
from storage.values.names import Reference, RepositoryName, Tag, UploadId


class UndeletableRegistry(WrappedRegistry):
    """A registry that refuses to delete (`storage.delete.enabled`)."""

    def repository(self, name: RepositoryName, *, moves_tags: bool = True) -> Repository:
        return _Undeletable(self._inner.repository(name, moves_tags=moves_tags))

    async def remove(self, name: RepositoryName) -> None:
        raise OperationDisabled("deleting")


class ReadOnlyRegistry(UndeletableRegistry):
    """A registry that refuses to write (`storage.maintenance.readonly`)."""

    def repository(self, name: RepositoryName, *, moves_tags: bool = True) -> Repository:
        return _ReadOnly(self._inner.repository(name, moves_tags=moves_tags))

    async def remove(self, name: RepositoryName) -> None:
        raise OperationDisabled("writing")


class _Undeletable:
    def __init__(self, inner: Repository) -> None:
        self.name: RepositoryName = inner.name
        self.blobs: Blobs = _UndeletableBlobs(inner.blobs)
        self.manifests: Manifests = _UndeletableManifests(inner.manifests)
        self.tags: Tags = _UndeletableTags(inner.tags)
        self.uploads: Uploads = inner.uploads
        self.referrers: Referrers = inner.referrers


class _ReadOnly(_Undeletable):
    def __init__(self, inner: Repository) -> None:
        super().__init__(inner)
        self.blobs = _ReadOnlyBlobs(inner.blobs)
        self.manifests = _ReadOnlyManifests(inner.manifests)
        self.tags = _ReadOnlyTags(inner.tags)
        self.uploads = _ReadOnlyUploads(inner.uploads)


class _UndeletableBlobs:
    def __init__(self, inner: Blobs) -> None:
        self._inner = inner

    async def size(self, digest: Digest) -> int:
        return await self._inner.size(digest)

    async def open(self, digest: Digest) -> Blob:
        return await self._inner.open(digest)

    async def locate(self, digest: Digest) -> BlobLocation | None:
        return await self._inner.locate(digest)

    async def mount(self, digest: Digest, source: RepositoryName) -> None:
        await self._inner.mount(digest, source)

    async def delete(self, digest: Digest) -> None:
        raise OperationDisabled("deleting")


class _ReadOnlyBlobs(_UndeletableBlobs):
    async def mount(self, digest: Digest, source: RepositoryName) -> None:
        raise OperationDisabled("writing")

    async def delete(self, digest: Digest) -> None:
        raise OperationDisabled("writing")


class _UndeletableManifests:
    def __init__(self, inner: Manifests) -> None:
        self._inner = inner

    async def get(self, reference: Reference) -> StoredManifest:
        return await self._inner.get(reference)

    async def put(self, manifest: Manifest, digest: Digest, tags: tuple[Tag, ...]) -> None:
        await self._inner.put(manifest, digest, tags)

    async def delete(self, digest: Digest) -> None:
        raise OperationDisabled("deleting")


class _ReadOnlyManifests(_UndeletableManifests):
    async def put(self, manifest: Manifest, digest: Digest, tags: tuple[Tag, ...]) -> None:
        raise OperationDisabled("writing")

    async def delete(self, digest: Digest) -> None:
        raise OperationDisabled("writing")


class _UndeletableTags:
    def __init__(self, inner: Tags) -> None:
        self._inner = inner

    async def page(self, after: str, limit: int | None, caller: Hashable = None) -> Page[Tag]:
        return await self._inner.page(after, limit, caller)

    async def delete(self, tag: Tag) -> None:
        raise OperationDisabled("deleting")


class _ReadOnlyTags(_UndeletableTags):
    async def delete(self, tag: Tag) -> None:
        raise OperationDisabled("writing")


class _ReadOnlyUploads:
    def __init__(self, inner: Uploads) -> None:
        self._inner = inner

    async def start(self, algorithm: str, owner: str = "") -> UploadId:
        raise OperationDisabled("writing")

    async def length(self, id: UploadId) -> int:
        return await self._inner.length(id)

    def open(self, id: UploadId) -> AbstractAsyncContextManager[Upload]:
        raise OperationDisabled("writing")

    async def cancel(self, id: UploadId) -> None:
        raise OperationDisabled("writing")
