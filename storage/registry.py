"""All repositories of one storage, found by walking its folders in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator

from storage import paths
from storage.blobs import BlobStore
from storage.digest import Digest
from storage.drivers.base import Driver, View
from storage.hashing import Hashers, best_hashers
from storage.links import Links, digests, read_link
from storage.listing import Page, cut
from storage.manifest_store import CACHE_BYTES, ManifestStore
from storage.names import NAME_LIMIT, RepositoryName, Tag, is_component, only_tags
from storage.referrers import Memory
from storage.repository import StoredRepository, Stores
from storage.rules import ManifestRules


class StoredRegistry:
    """The registry of everything a driver holds."""

    def __init__(
        self,
        driver: Driver,
        rules: ManifestRules | None = None,
        hashers: Hashers | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._driver = driver
        self._stores = Stores(
            driver=driver,
            blobs=BlobStore(driver),
            manifests=ManifestStore(driver, cache_bytes),
            links=Links(driver),
            hashers=hashers or best_hashers(),
            rules=rules or ManifestRules(),
            memory=Memory(),
        )

    def repository(self, name: RepositoryName) -> StoredRepository:
        """Open a repository, existing or not."""
        return StoredRepository(self._stores, name)

    async def catalog(self, after: str, limit: int) -> Page[RepositoryName]:
        """List repositories that hold a manifest."""

        def job(view: View) -> Page[RepositoryName]:
            names = walk(view, after)
            return cut((name for name in names if _holds_manifest(view, name)), limit)

        return await self._driver.batch(job)

    async def holders(self, digest: Digest) -> list[RepositoryName]:
        """Find the repositories of which a blob is a member."""

        def job(view: View) -> list[RepositoryName]:
            links = ((name, paths.layer_link(name, digest)) for name in walk(view))
            return [name for name, link in links if read_link(view, link) is not None]

        return await self._driver.batch(job)


def walk(view: View, after: str = "") -> Iterator[RepositoryName]:
    """Yield every folder that may be a repository, those behind `after`, in order of bytes.

    A page costs the same wherever it starts: folders that end before `after` are not entered.
    """
    return _walk(view, "", after)


def _walk(view: View, prefix: str, after: str) -> Iterator[RepositoryName]:
    """Merge the folders here with what is below them: "a" < "a-b" < "a/b", as "-" < "/"."""
    folder = f"{paths.REPOSITORIES}/{prefix}".rstrip("/")
    names = [prefix + name for name in view.folders(folder) if is_component(name)]
    for key in sorted([*names, *(f"{name}/" for name in names)]):
        if len(key) > NAME_LIMIT:
            continue
        if not key.endswith("/"):
            if key > after:
                yield RepositoryName(key)
        elif key > after or after.startswith(key):
            yield from _walk(view, key, after)


def _holds_manifest(view: View, name: RepositoryName) -> bool:
    return _has_tag(view, name) or _has_revision(view, name)


def _has_tag(view: View, name: RepositoryName) -> bool:
    tags = map(Tag, only_tags(view.folders(paths.tags(name))))
    return any(view.stat(paths.tag_current_link(name, tag)) for tag in tags)


def _has_revision(view: View, name: RepositoryName) -> bool:
    revisions = digests(view, paths.revisions(name))
    return any(view.stat(paths.revision_link(name, digest)) for digest in revisions)
