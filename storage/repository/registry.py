"""All repositories of a storage, found by walking its folders in byte order of their names."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator
from functools import partial
from itertools import islice

from storage.content.blob_store import BlobStore
from storage.content.hashing import Hashers, best_hashers
from storage.content.links import Links, digests, read_link
from storage.content.manifest_store import CACHE_BYTES, CACHE_SHARE, ManifestStore
from storage.content.referrer_store import ReferrerCache
from storage.drivers.base import Driver, ExclusiveEditor, Reader
from storage.errors import RepositoryUnknown
from storage.interfaces import Visible
from storage.repository.long_reads import LongReads
from storage.repository.repository import SharedStores, StoredRepository
from storage.values import paths
from storage.values.cache import Lru
from storage.values.digest import CANONICAL, Digest
from storage.values.listing import Page, cut
from storage.values.manifest_policy import ManifestPolicy
from storage.values.names import NAME_LIMIT, RepositoryName, Tag, is_component, only_tags

# The grace period in seconds: collections keep content that was touched within it.
GRACE = 3600.0

# Entries of about 4 MB; with more, the cache is cleared.
_MOST_FOUND = 10_000
# Repositories that are searched for a blob; a thousand take about 100 ms with a warm page cache.
MOST_SEARCHED = 10_000
# Concurrent listings of tags, and concurrent searches through all repositories.
_TAG_LISTS = 2
_SEARCHES = 2
# The common subject of searches for blobs: they run one at a time, which leaves a slot to the
# catalog.
_HOLDERS = object()
# A concurrent push cannot interfere with a removal so often.
_ATTEMPTS = 16


class StoredRegistry:
    """The registry in a driver's storage."""

    def __init__(
        self,
        driver: Driver,
        policy: ManifestPolicy | None = None,
        hashers: Hashers | None = None,
        cache_bytes: int = CACHE_BYTES,
        grace: float = GRACE,
    ) -> None:
        self._driver = driver
        self._stores = SharedStores(
            driver=driver,
            blobs=BlobStore(driver, grace),
            manifests=ManifestStore(driver, cache_bytes),
            links=Links(driver),
            hashers=hashers or best_hashers(),
            policy=policy or ManifestPolicy(),
            referrer_cache=ReferrerCache(),
            lookups=Lru(cache_bytes, cost=lambda lookup: lookup.cost, share=CACHE_SHARE),
            tag_lists=LongReads(driver, _TAG_LISTS),
            grace=grace,
        )
        self._presence = ManifestPresence()
        self._searches = LongReads(driver, _SEARCHES)

    def repository(self, name: RepositoryName, *, moves_tags: bool = True) -> StoredRepository:
        """Open a repository, existing or not, without reading from the storage."""
        return StoredRepository(self._stores, name, moves_tags=moves_tags)

    async def catalog(
        self,
        after: str,
        limit: int,
        visible: Visible | None = None,
        caller: Hashable = None,
    ) -> Page[RepositoryName]:
        """List repositories that have a manifest."""

        def job(reader: Reader) -> Page[RepositoryName]:
            # `visible` is checked first, because it costs less than reading the disk.
            names = filter(visible, walk(reader, after)) if visible else walk(reader, after)
            return cut((name for name in names if self._presence.has_manifest(reader, name)), limit)

        # Callers that see different repositories cannot share a result.
        key = (after, limit) if visible is None else object()
        return await self._searches.result(key, job, caller=caller)

    async def holders(self, digest: Digest, caller: Hashable = None) -> list[RepositoryName]:
        """Return the repositories that have a blob, among the first `MOST_SEARCHED`."""
        job = partial(_holders, digest)
        return await self._searches.result(digest, job, _HOLDERS, caller)

    async def remove(self, name: RepositoryName) -> None:
        """Delete a repository: first its manifests and tags, durably, then everything else.

        So no power cut leaves a manifest without its layers. A manifest that is pushed between the
        two steps is deleted too. After a crash the removal can be repeated.
        """
        # The fsync of an earlier removal may have failed: sync what it removed.
        await self._driver.sync_removals(paths.repository(name))
        existed = False
        sessions: list[str] = []
        for _ in range(_ATTEMPTS):
            removed, is_done = await self._driver.exclusively(partial(_remove, name, sessions))
            existed |= removed
            if is_done:
                break
        else:
            raise TimeoutError(f"repository {name} keeps being pushed to while it is removed")
        for session in sessions:  # a driver may keep staged bytes elsewhere
            await self._driver.staging.discard(session)
        if not existed:
            raise RepositoryUnknown(name.text)


def _holders(digest: Digest, reader: Reader) -> list[RepositoryName]:
    # The link of a sha512 blob may hold its sha256 (`storage.content.blob_store.content_of`).
    if digest.algorithm == CANONICAL and reader.stat(paths.blob(digest)) is None:
        return []
    links = ((name, paths.layer_link(name, digest)) for name in islice(walk(reader), MOST_SEARCHED))
    return [name for name, link in links if read_link(reader, link) is not None]


def _remove(
    name: RepositoryName, sessions: list[str], editor: ExclusiveEditor
) -> tuple[bool, bool]:
    """Remove the manifests or, if there are none, everything else; add uploads to `sessions`.

    Returns whether anything was removed, and whether nothing is left.
    """
    if editor.remove(paths.manifests(name)):
        return True, False
    uploads, folder = paths.uploads(name), paths.repository(name)
    sessions += [f"{uploads}/{id}" for id in editor.names(uploads)]
    # The names of nested repositories never start with "_".
    parts = list(filter(paths.is_part, sorted(editor.names(folder))))
    return sum(editor.remove(f"{folder}/{part}") for part in parts) > 0, True


def walk(reader: Reader, after: str = "") -> Iterator[RepositoryName]:
    """Yield every folder after `after` that may be a repository, in byte order.

    Folders whose names all come before `after` are not read, so a page costs the same wherever it
    starts.
    """
    return _walk(reader, "", after)


def _walk(reader: Reader, prefix: str, after: str) -> Iterator[RepositoryName]:
    """Merge the folders here with the folders below them: "a" < "a-b" < "a/b", as "-" < "/".

    A folder is descended into once no sibling sorts before its children. Each waiting folder is a
    prefix of the next one, so the last one, the longest, is descended into first.
    """
    if len(prefix) > NAME_LIMIT:
        return
    rest = after[len(prefix) :] if after.startswith(prefix) else ""
    names = sorted(reader.folders(f"{paths.REPOSITORIES}/{prefix}".rstrip("/")))
    waiting = [head for head in _heads(rest) if _is_among(names, head)]
    for name in islice(names, bisect_right(names, rest), None):
        while waiting and f"{waiting[-1]}/" < name:
            yield from _walk(reader, f"{prefix}{waiting.pop()}/", after)
        if is_component(name) and len(prefix) + len(name) <= NAME_LIMIT:
            yield RepositoryName(prefix + name)
            waiting.append(name)
    while waiting:
        yield from _walk(reader, f"{prefix}{waiting.pop()}/", after)


def _heads(text: str) -> Iterator[str]:
    """Yield each name that is a prefix of `text` and may have names after `text` below it."""
    for end in range(1, min(len(text), NAME_LIMIT) + 1):
        if text[end : end + 1] <= "/" and is_component(text[:end]):
            yield text[:end]


def _is_among(names: list[str], name: str) -> bool:
    at = bisect_left(names, name)
    return names[at : at + 1] == [name]


class ManifestPresence:
    """Tells which repositories have a manifest.

    Caches one link of each repository. The next check looks for that link first, which avoids
    reading folders; whether it exists is checked on disk each time.
    """

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def has_manifest(self, reader: Reader, name: RepositoryName) -> bool:
        """Return whether a repository has a link to a manifest."""
        link = self._found.get(name.text)
        if link is not None and reader.stat(link):
            return True
        link = next((path for path in _links(reader, name) if reader.stat(path)), None)
        self._remember(name, link)
        return link is not None

    def _remember(self, name: RepositoryName, link: str | None) -> None:
        if link is None:
            self._found.pop(name.text, None)
            return
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        self._found[name.text] = link


def _links(reader: Reader, name: RepositoryName) -> Iterator[str]:
    """Yield the paths of links to manifests, of tags and of revisions; a link may be missing."""
    for tag in only_tags(reader.folders(paths.tags(name))):
        yield paths.tag_current_link(name, Tag(tag))
    for digest in digests(reader, paths.revisions(name)):
        yield paths.revision_link(name, digest)
