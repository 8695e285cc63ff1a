"""Wrappers of a registry that enforce quotas.

Only operations that grow a repository are checked; all others are passed on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from storage.drivers.base import Driver
from storage.errors import BlobUnknown, QuotaExceeded
from storage.interfaces import (
    Blobs,
    Manifests,
    Referrers,
    Registry,
    Repository,
    Tags,
    Upload,
    Uploads,
)
from storage.repository.quotas.accounts import Limits, LimitsOf, QuotaAccount, QuotaAccounts
from storage.repository.quotas.members import content_at
from storage.repository.wrapping import WrappedRegistry
from storage.values.buffers import Buffer
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.manifests import Manifest
from storage.values.names import RepositoryName, Tag, UploadId


class LimitedRegistry(WrappedRegistry):
    """A registry that enforces `limits`; `inner` must store in `driver`."""

    def __init__(self, inner: Registry, driver: Driver, limits: LimitsOf) -> None:
        super().__init__(inner)
        self._driver = driver
        self._limits = limits
        self._accounts = QuotaAccounts(driver)

    def repository(self, name: RepositoryName, *, moves_tags: bool = True) -> Repository:
        """Open a repository; one without limits is returned unwrapped."""
        repository = self._inner.repository(name, moves_tags=moves_tags)
        limits = self._limits(name)
        if not limits:
            return repository
        account = self._accounts.of(name, limits)
        return _Limited(repository, self._driver, limits, account)


class _Limited:
    def __init__(
        self, inner: Repository, driver: Driver, limits: Limits, account: QuotaAccount
    ) -> None:
        self.name: RepositoryName = inner.name
        self.tags: Tags = inner.tags
        self.referrers: Referrers = inner.referrers
        self.blobs: Blobs = inner.blobs
        self.manifests: Manifests = inner.manifests
        self.uploads: Uploads = inner.uploads
        if limits.bytes:
            self.blobs = _LimitedBlobs(inner.blobs, driver, account)
            self.manifests = _LimitedManifests(inner.manifests, account)
            self.uploads = _LimitedUploads(inner.uploads, account)
        if limits.uploads:
            self.uploads = _CountedUploads(self.uploads, account)


class _LimitedBlobs:
    def __init__(self, inner: Blobs, driver: Driver, account: QuotaAccount) -> None:
        self._inner = inner
        self._driver = driver
        self._account = account
        self.size = inner.size
        self.open = inner.open
        self.locate = inner.locate
        self.delete = inner.delete

    async def mount(self, digest: Digest, source: RepositoryName) -> None:
        content = await self._driver.batch(lambda reader: content_at(reader, source, digest))
        if content is None:
            raise BlobUnknown(digest)
        await self._account.add_content(*content, partial(self._inner.mount, digest, source))


class _LimitedManifests:
    def __init__(self, inner: Manifests, account: QuotaAccount) -> None:
        self._inner = inner
        self._account = account
        self.get = inner.get
        self.delete = inner.delete

    async def put(self, manifest: Manifest, digest: Digest, tags: tuple[Tag, ...]) -> None:
        write = partial(self._inner.put, manifest, digest, tags)
        await self._account.add_content(digest, len(manifest.raw), write)


class _CountedUploads:
    def __init__(self, inner: Uploads, account: QuotaAccount) -> None:
        self._inner = inner
        self._account = account
        self.length = inner.length
        self.open = inner.open
        self.cancel = inner.cancel

    async def start(self, algorithm: str, owner: str = "") -> UploadId:
        return await self._account.start_upload(partial(self._inner.start, algorithm, owner))


class _LimitedUploads:
    def __init__(self, inner: Uploads, account: QuotaAccount) -> None:
        self._inner = inner
        self._account = account
        self.start = inner.start
        self.length = inner.length
        self.cancel = inner.cancel

    @asynccontextmanager
    async def open(self, id: UploadId) -> AsyncIterator[Upload]:
        async with self._inner.open(id) as inner:
            upload = _LimitedUpload(inner, id, self._account)
            try:
                yield upload
            finally:
                await upload.let_go()


class _LimitedUpload:
    """A session that ends when it exceeds the quota.

    Its bytes would count against the quota until they are purged, and refused clients do not
    resume it.
    """

    def __init__(self, inner: Upload, id: UploadId, account: QuotaAccount) -> None:
        self._inner = inner
        self._id = id
        self._account = account
        self._has_reservation = False

    @property
    def length(self) -> int:
        return self._inner.length

    async def append(self, source: AsyncIterator[Buffer], chunk: DeclaredRange) -> None:
        try:
            await self._inner.append(self._reserved(source, chunk.expected), chunk)
        except QuotaExceeded:
            await self.discard()
            raise

    async def commit(self, digest: Digest) -> None:
        if not self._has_reservation:  # an earlier request reserved; the quota may be lower now
            await self._check(digest)
        self._has_reservation = True
        await self._account.record_commit(self._id, self.length, digest)
        await self._inner.commit(digest)
        self._has_reservation = False  # the reservation was deleted with the session

    async def _check(self, digest: Digest) -> None:
        try:
            await self._account.check(self._id, self.length, digest)
        except QuotaExceeded:
            await self.discard()
            raise

    async def discard(self) -> None:
        await self._inner.discard()
        self._has_reservation = False

    async def let_go(self) -> None:
        if self._has_reservation:
            await self._account.release(self._id)

    async def _reserved(
        self, source: AsyncIterator[Buffer], expected: int | None
    ) -> AsyncIterator[Buffer]:
        """Yield what `source` yields after reserving it; a declared length is reserved in full."""
        reached = reserved = self.length
        if expected:
            reserved = await self._reserve(reached + expected, more=False)
        async for data in source:
            reached += len(data)
            if reached > reserved:
                reserved = await self._reserve(reached, more=True)
            yield data

    async def _reserve(self, size: int, *, more: bool) -> int:
        self._has_reservation = True
        return await self._account.reserve(self._id, size, more=more)
