"""A stored repository: membership checks, and the order of writes that survives any crash.

    push      manifest's bytes → revision link → referrer entry → tag history → tag
    delete    tags and revision link → referrer entry

A crash may happen at each arrow. A push writes a link only once its target is durable. A new tag
is created together with its history, as `content/tag_store.py` explains. A deletion removes the
tags together with the revision link, as `storage.content.deletions` explains; a crash leaves only
garbage.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from sys import getsizeof
from typing import NamedTuple, TypeAlias

from storage.content.blob_store import BlobStore, content_of, touch
from storage.content.deletions import ManifestDeletion, is_partly_deleted
from storage.content.hashing import Hashers
from storage.content.links import Links, digests, link_change, read_link
from storage.content.manifest_store import ManifestStore
from storage.content.referrer_store import ReferrerCache, ReferrerStore
from storage.content.tag_store import TagStore
from storage.content.upload_store import UploadStore
from storage.drivers.base import Driver, ExclusiveEditor, FileSnapshot, OpenFile, TouchingReader
from storage.drivers.changes import Step
from storage.errors import (
    BlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    ReferencesUnknown,
    RepositoryUnknown,
)
from storage.interfaces import BlobLocation
from storage.repository.long_reads import LongReads
from storage.values import paths
from storage.values.cache import Lru
from storage.values.digest import Digest
from storage.values.listing import Page
from storage.values.manifest_policy import ManifestPolicy
from storage.values.manifests import Manifest, StoredManifest
from storage.values.names import Reference, RepositoryName, Tag
from storage.values.stored_manifests import read

# A concurrent deletion cannot interfere with a push so often.
_ATTEMPTS = 16

# Bytes of a cache key with the objects of its entry, and of a snapshot without its strings.
_KEY_BYTES = 1024
_SNAPSHOT_BYTES = 384


class CachedLookup(NamedTuple):
    """The manifest that a reference resolved to, and the links that were read.

    A client that gets a manifest by digest may omit it from a push, so the manifest must be
    touched regularly. The lookup must not be used after `until`, a time of `time.monotonic`.
    """

    links: tuple[FileSnapshot, ...]
    manifest: StoredManifest
    until: float

    @property
    def cost(self) -> int:
        """The bytes of memory that the entry and its key occupy."""
        links = sum(getsizeof(link.path) + getsizeof(link.content) for link in self.links)
        return _KEY_BYTES + _SNAPSHOT_BYTES * len(self.links) + links + self.manifest.memory


# By repository and reference.
LookupCache: TypeAlias = Lru[tuple[str, Reference], CachedLookup]


@dataclass(frozen=True, slots=True)
class SharedStores:
    """Shared by the repositories of one registry."""

    driver: Driver
    blobs: BlobStore
    manifests: ManifestStore
    links: Links
    hashers: Hashers
    policy: ManifestPolicy
    referrer_cache: ReferrerCache
    lookups: LookupCache
    tag_lists: LongReads
    grace: float
    """Seconds for which collections keep content that was touched."""


class StoredRepository:
    """A repository in a driver's storage."""

    def __init__(
        self, stores: SharedStores, name: RepositoryName, *, moves_tags: bool = True
    ) -> None:
        self.name = name
        tags = TagStore(stores.driver, name, moves=moves_tags)
        self.referrers = ReferrerStore(stores.driver, stores.referrer_cache, name)
        self.blobs = StoredBlobs(stores, name)
        self.manifests = StoredManifests(stores, name, tags, self.referrers)
        self.tags = StoredTags(stores, name, tags)
        self.uploads = UploadStore(stores.driver, stores.hashers, name)


class StoredBlobs:
    """The blobs that have a link in `_layers`."""

    def __init__(self, stores: SharedStores, name: RepositoryName) -> None:
        self._stores = stores
        self._name = name

    async def size(self, digest: Digest) -> int:
        """Return a blob's size in bytes.

        The client may then omit the blob from a push, so a blob that is not fresh is touched.
        """
        # The link is read again afterwards: a collection may remove it until the blob is touched.
        is_fresh = await self._stores.blobs.is_fresh(digest)
        content = await self._content(digest)
        if not is_fresh:
            await self._stores.blobs.touch(content)
            content = await self._content(digest)
        size = await self._stores.blobs.size(content)
        if size is None:
            raise BlobUnknown(digest)
        return size

    async def open(self, digest: Digest) -> OpenFile:
        """Open a blob, which the caller closes."""
        file = await self._stores.blobs.open(await self._content(digest))
        if file is None:
            raise BlobUnknown(digest)
        return file

    async def locate(self, digest: Digest) -> BlobLocation | None:
        """Return the file of a blob; None unless the driver stores files."""
        content = await self._content(digest)
        size = await self._stores.blobs.size(content)
        if size is None:
            raise BlobUnknown(digest)
        if not self._stores.driver.has_files:
            return None
        return BlobLocation(paths.blob_below(content), size)

    async def mount(self, digest: Digest, source: RepositoryName) -> None:
        """Write a link to a blob of `source`, with the digest that the link in `source` holds."""
        content = await StoredBlobs(self._stores, source)._content(digest)

        def check(reader: TouchingReader) -> None:
            linked = read_link(reader, paths.layer_link(source, digest))
            if content_of(digest, linked) != content or not touch(reader, content):
                raise BlobUnknown(digest)

        link = link_change(paths.layer_link(self._name, digest), content)
        await self._stores.driver.publish((link,), check=check)

    async def delete(self, digest: Digest) -> None:
        """Remove a blob's link under the exclusive lock, so that no push relies on it meanwhile."""
        driver, link = self._stores.driver, paths.layer_link(self._name, digest)
        content = content_of(digest, await self._stores.links.read(link))
        if content is None or not await driver.exclusively(lambda editor: editor.remove(link)):
            await driver.sync_removals(link)  # the fsync of an earlier deletion may have failed
            raise BlobUnknown(digest)

    async def _content(self, digest: Digest) -> Digest:
        """Return the digest under which the content is stored; raise `BlobUnknown`."""
        linked = await self._stores.links.read(paths.layer_link(self._name, digest))
        content = content_of(digest, linked)
        if content is None:
            raise BlobUnknown(digest)
        return content


class StoredManifests:
    """The manifests that have a link in `_manifests/revisions`."""

    def __init__(
        self, stores: SharedStores, name: RepositoryName, tags: TagStore, referrers: ReferrerStore
    ) -> None:
        self._stores = stores
        self._name = name
        self._tags = tags
        self._referrers = referrers

    async def get(self, reference: Reference) -> StoredManifest:
        """Return the manifest of a digest, or the one a tag points to.

        A cached lookup is used while its links are unchanged, which is checked on disk each time.
        """
        key = (self._name.text, reference)
        lookup = self._stores.lookups.get(key)
        if lookup is not None and self._still_holds(lookup):
            return lookup.manifest
        digest = await self._resolve(reference)
        links = self._links(reference, digest)
        stored = await self._stores.manifests.get(digest)
        if stored is None:
            raise ManifestUnknown(reference)
        until = math.inf if isinstance(reference, Tag) else await self._keep_fresh(digest)
        if links is not None:
            self._stores.lookups.put(key, CachedLookup(links, stored, until))
        return stored

    async def _keep_fresh(self, digest: Digest) -> float:
        """Touch a manifest unless it is fresh; return the time when that must be repeated."""
        until = time.monotonic() + self._stores.grace / 10
        if not await self._stores.blobs.is_fresh(digest):
            await self._stores.blobs.touch(digest)
        await self._resolve(digest)  # a collection may have removed it before it was touched
        return until

    def _still_holds(self, lookup: CachedLookup) -> bool:
        if lookup.until <= time.monotonic():
            return False
        return all(map(self._stores.driver.is_unchanged, lookup.links))

    async def put(self, manifest: Manifest, digest: Digest, tags: tuple[Tag, ...]) -> None:
        """Store a manifest and point tags at it, in the order shown above.

        If another request deletes it before all tags are set, it is stored again, as if the
        deletion had come first. An interrupted deletion is completed before that: otherwise old
        tags would reappear with the manifest.
        """
        await self._stores.policy.check(manifest)
        for _ in range(_ATTEMPTS):
            with suppress(ManifestUnknown):
                await self._put(manifest, digest, tags)
                self._stores.manifests.remember(digest, manifest)
                return
            await ManifestDeletion(self._stores.driver, self._name, digest).finish()
        raise TimeoutError(f"manifest {digest} keeps being deleted while it is pushed")

    async def _put(self, manifest: Manifest, digest: Digest, tags: tuple[Tag, ...]) -> None:
        """Store a manifest; raise `ManifestUnknown` if it is deleted before all tags are set."""
        steps: list[Step] = [
            (self._stores.manifests.put_change(digest, manifest),),
            (link_change(paths.revision_link(self._name, digest), digest),),
        ]
        if manifest.subject is not None:
            steps.append(self._referrers.add_changes(manifest.subject.digest, digest, manifest))
        new = await self._tags.creation_changes(tags, digest)
        already_existed = await self._stores.driver.publish(
            *steps, new, check=lambda reader: self._check(reader, manifest, digest, tags)
        )
        created = {change.path for change in new}.difference(already_existed)
        for tag in tags:
            if paths.tag(self._name, tag) not in created:
                await self._tags.point(
                    tag, digest, lambda reader: self._check_exists(reader, digest)
                )

    async def delete(self, digest: Digest) -> None:
        """Delete a manifest with its tags (`storage.content.deletions`), then its referrer entry.

        The exclusive lock keeps the deletion from happening within a push. A failed deletion can be
        repeated, which completes it. An entry that stays in the index of referrers does no harm: a
        listing skips manifests that are not members.
        """
        if not await ManifestDeletion(self._stores.driver, self._name, digest).run():
            raise ManifestUnknown(digest)
        stored = await self._stores.manifests.get(digest)
        if stored is not None:
            await self._remove_referrer_entry(stored)

    def _links(self, reference: Reference, digest: Digest) -> tuple[FileSnapshot, ...] | None:
        """Return snapshots of the links that were read, None unless the driver has one of each."""
        read = [paths.revision_link(self._name, digest)]
        if isinstance(reference, Tag):
            read.append(paths.tag_current_link(self._name, reference))
        snapshots = tuple(filter(None, map(self._stores.driver.snapshot, read)))
        # Another request may have read a newer link meanwhile: its snapshot has other content.
        content = str(digest).encode()
        is_complete = len(snapshots) == len(read) and all(
            snapshot.content == content for snapshot in snapshots
        )
        return snapshots if is_complete else None

    async def _resolve(self, reference: Reference) -> Digest:
        digest = await self._tags.get(reference) if isinstance(reference, Tag) else reference
        if digest is None:
            raise ManifestUnknown(reference)
        if await self._stores.links.read(paths.revision_link(self._name, digest)) != digest:
            raise ManifestUnknown(reference)
        return digest

    def _check_exists(self, reader: TouchingReader, digest: Digest) -> None:
        if not self._has_manifest(reader, digest):
            raise ManifestUnknown(digest)

    def _check(
        self, reader: TouchingReader, manifest: Manifest, digest: Digest, tags: tuple[Tag, ...]
    ) -> None:
        """Check that a manifest may be stored; touch all its references and referrers.

        Raises `ManifestUnknown` while a deletion of the manifest may have tags left to remove.
        """
        if is_partly_deleted(reader, self._name, digest):
            raise ManifestUnknown(digest)
        for tag in tags:
            self._tags.check_may_point(reader, tag, digest)
        missing = self._missing(reader, manifest)
        if missing:
            raise ReferencesUnknown(missing)
        for referrer in digests(reader, paths.referrers(self._name, digest)):
            touch(reader, referrer)

    def _missing(self, reader: TouchingReader, manifest: Manifest) -> tuple[Digest, ...]:
        policy = self._stores.policy
        required = {blob.digest for blob in policy.required_blobs(manifest)}
        required |= {child.digest for child in policy.required_manifests(manifest)}
        blobs = dict.fromkeys(blob.digest for blob in manifest.blobs)
        lacking = [digest for digest in blobs if not self._has_blob(reader, digest)]
        lacking += [
            digest
            for digest, may_be_blob in manifest.child_kinds().items()
            if not self._has_child(reader, digest, may_be_blob=may_be_blob)
        ]
        return tuple(digest for digest in lacking if digest in required)

    def _has_child(self, reader: TouchingReader, digest: Digest, *, may_be_blob: bool) -> bool:
        if self._has_manifest(reader, digest):
            return True
        # A blob is touched in any case: the policy may allow an index to lack children, and it
        # still refers to the blob.
        return self._has_blob(reader, digest) and may_be_blob

    def _has_blob(self, reader: TouchingReader, digest: Digest) -> bool:
        content = content_of(digest, read_link(reader, paths.layer_link(self._name, digest)))
        return content is not None and touch(reader, content)

    def _has_manifest(self, reader: TouchingReader, digest: Digest) -> bool:
        linked = read_link(reader, paths.revision_link(self._name, digest)) == digest
        return linked and touch(reader, digest)

    async def _remove_referrer_entry(self, stored: StoredManifest) -> None:
        try:
            subject = (await read(stored.raw)).subject
        except ManifestInvalid:
            return
        if subject is None:
            return
        revision = paths.revision_link(self._name, stored.digest)
        # The link is removed last: a link without a descriptor does no harm.
        entry = (
            paths.referrer_descriptor(self._name, subject, stored.digest),
            paths.referrer_link(self._name, subject, stored.digest),
        )

        def remove(editor: ExclusiveEditor) -> None:
            if editor.stat(revision) is None:  # otherwise it was pushed again
                for path in entry:
                    editor.remove(path)

        await self._stores.driver.exclusively(remove)


class StoredTags:
    """Tags of a repository that exists."""

    def __init__(self, stores: SharedStores, name: RepositoryName, tags: TagStore) -> None:
        self._driver = stores.driver
        self._lists = stores.tag_lists
        self._name = name
        self._tags = tags

    async def page(self, after: str, limit: int | None, caller: Hashable = None) -> Page[Tag]:
        """List the tags after `after`."""
        job = partial(self._tags.page, after=after, limit=limit)
        page = await self._lists.result((self._name, after, limit), job, self._name, caller)
        if not page.entries and not await self._exists():
            raise RepositoryUnknown(str(self._name))
        return page

    async def delete(self, tag: Tag) -> None:
        """Remove only the tag."""
        if not await self._tags.remove(tag):
            raise ManifestUnknown(tag)

    async def _exists(self) -> bool:
        """Return whether a blob or manifest was pushed; an upload session alone does not count."""
        manifests, layers = paths.manifests(self._name), paths.layers(self._name)
        return await self._driver.exists(manifests) or await self._driver.exists(layers)
