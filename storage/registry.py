"""All repositories of one storage, found by walking its folders in the order of their names."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator
from functools import partial
from itertools import islice

from storage import paths
from storage.blobs import BlobStore
from storage.cache import Lru
from storage.digest import CANONICAL, Digest
from storage.drivers.base import Driver, Editor, View
from storage.errors import RepositoryUnknown
from storage.hashing import Hashers, best_hashers
from storage.interfaces import Visible
from storage.links import Links, digests, read_link
from storage.listing import Page, cut
from storage.long_reads import LongReads
from storage.manifest_store import CACHE_BYTES, CACHE_SHARE, ManifestStore
from storage.names import NAME_LIMIT, RepositoryName, Tag, is_component, only_tags
from storage.referrers import Memory
from storage.repository import StoredRepository, Stores
from storage.rules import ManifestRules

# Seconds for which collections leave what was used.
GRACE = 3600.0

# Some 4 MB; past it what is known is learned again.
_MOST_FOUND = 10_000
# Repositories that are searched for a blob; with what is cached, a thousand take some 100 ms.
MOST_SEARCHED = 10_000
# Lists of tags that are read at the same time; searches through all repositories.
_TAG_LISTS = 2
_SEARCHES = 2
# Searches for blobs wait for each other, and leave a turn to the catalog.
_HOLDERS = object()
# Nobody pushes to a repository just when it was removed so many times.
_ATTEMPTS = 16


class StoredRegistry:
    """The registry of everything a driver holds."""

    def __init__(
        self,
        driver: Driver,
        rules: ManifestRules | None = None,
        hashers: Hashers | None = None,
        cache_bytes: int = CACHE_BYTES,
        grace: float = GRACE,
    ) -> None:
        self._driver = driver
        self._stores = Stores(
            driver=driver,
            blobs=BlobStore(driver, grace),
            manifests=ManifestStore(driver, cache_bytes),
            links=Links(driver),
            hashers=hashers or best_hashers(),
            rules=rules or ManifestRules(),
            memory=Memory(),
            answers=Lru(cache_bytes, cost=lambda answer: answer.cost, share=CACHE_SHARE),
            tag_lists=LongReads(driver, _TAG_LISTS),
            grace=grace,
        )
        self._holding = Holding()
        self._searches = LongReads(driver, _SEARCHES)

    def repository(self, name: RepositoryName, *, moves_tags: bool = True) -> StoredRepository:
        """Open a repository, existing or not."""
        return StoredRepository(self._stores, name, moves_tags=moves_tags)

    async def catalog(
        self,
        after: str,
        limit: int,
        visible: Visible | None = None,
        caller: Hashable = None,
    ) -> Page[RepositoryName]:
        """List repositories that hold a manifest."""

        def job(view: View) -> Page[RepositoryName]:
            # Asking the caller first costs nothing; asking the disk does.
            names = filter(visible, walk(view, after)) if visible else walk(view, after)
            return cut((name for name in names if self._holding.holds(view, name)), limit)

        # What one caller may see is not another's to share.
        question = (after, limit) if visible is None else object()
        return await self._searches.result(question, job, caller=caller)

    async def holders(self, digest: Digest, caller: Hashable = None) -> list[RepositoryName]:
        """Find the repositories of which a blob is a member, among the first `MOST_SEARCHED`."""
        job = partial(_holders, digest)
        return await self._searches.result(digest, job, _HOLDERS, caller)

    async def remove(self, name: RepositoryName) -> None:
        """Remove a repository: what answers first and durably, then what that needed.

        Nobody finds a manifest whose layers are gone, whenever the power goes. Who pushes one in
        between was first, and what he pushed goes as well. After a crash it may be repeated.
        """
        # Once more, after an fsync that failed, what answers may be gone and not durably so.
        await self._driver.settle(paths.repository(name))
        found = False
        sessions: list[str] = []
        for _ in range(_ATTEMPTS):
            went, is_done = await self._driver.exclusively(partial(_remove, name, sessions))
            found |= went
            if is_done:
                break
        else:
            raise TimeoutError(f"repository {name} is pushed to and removed all the time")
        for session in sessions:  # what is staged may wait elsewhere
            await self._driver.staging.discard(session)
        if not found:
            raise RepositoryUnknown(name.text)


def _holders(digest: Digest, view: View) -> list[RepositoryName]:
    # The links of other digests may lead to a sha256 (`storage.blobs.content_of`).
    if digest.algorithm == CANONICAL and view.stat(paths.blob(digest)) is None:
        return []
    links = ((name, paths.layer_link(name, digest)) for name in islice(walk(view), MOST_SEARCHED))
    return [name for name, link in links if read_link(view, link) is not None]


def _remove(name: RepositoryName, sessions: list[str], editor: Editor) -> tuple[bool, bool]:
    """Remove the manifests, or all else when there are none; add uploads to `sessions`.

    Returns whether there was anything, and whether nothing is left.
    """
    if editor.remove(paths.manifests(name)):
        return True, False
    uploads, folder = paths.uploads(name), paths.repository(name)
    sessions += [f"{uploads}/{one}" for one in editor.names(uploads)]
    # Those below have no "_" at the beginning of their names.
    ours = [one for one in sorted(editor.names(folder)) if one.startswith("_")]
    return sum(editor.remove(f"{folder}/{one}") for one in ours) > 0, True


def walk(view: View, after: str = "") -> Iterator[RepositoryName]:
    """Yield every folder that may be a repository, those behind `after`, in order of bytes.

    A page costs the same wherever it starts: folders that end before `after` are not entered.
    """
    return _walk(view, "", after)


def _walk(view: View, prefix: str, after: str) -> Iterator[RepositoryName]:
    """Merge the folders here with what is below them: "a" < "a-b" < "a/b", as "-" < "/".

    What is below a folder waits until no folder here comes before it. All that wait begin with
    each other, and what is below the longest comes first.
    """
    if len(prefix) > NAME_LIMIT:
        return
    rest = after[len(prefix) :] if after.startswith(prefix) else ""
    names = sorted(view.folders(f"{paths.REPOSITORIES}/{prefix}".rstrip("/")))
    waiting = [head for head in _heads(rest) if _is_among(names, head)]
    for name in islice(names, bisect_right(names, rest), None):
        while waiting and f"{waiting[-1]}/" < name:
            yield from _walk(view, f"{prefix}{waiting.pop()}/", after)
        if is_component(name) and len(prefix) + len(name) <= NAME_LIMIT:
            yield RepositoryName(prefix + name)
            waiting.append(name)
    while waiting:
        yield from _walk(view, f"{prefix}{waiting.pop()}/", after)


def _heads(text: str) -> Iterator[str]:
    """Yield each name with which `text` begins and below which something comes behind `text`."""
    for end in range(1, min(len(text), NAME_LIMIT) + 1):
        if text[end : end + 1] <= "/" and is_component(text[:end]):
            yield text[:end]


def _is_among(names: list[str], name: str) -> bool:
    at = bisect_left(names, name)
    return names[at : at + 1] == [name]


class Holding:
    """Tells which repositories hold a manifest.

    Remembers by which link it was told for a repository. The next time it looks there first, which
    spares reading folders; whether the link is there is asked of the disk each time.
    """

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def holds(self, view: View, name: RepositoryName) -> bool:
        """Whether there is a link to a manifest now."""
        found = self._found.get(name.text)
        if found is not None and view.stat(found):
            return True
        found = next((link for link in _links(view, name) if view.stat(link)), None)
        self._note(name, found)
        return found is not None

    def _note(self, name: RepositoryName, found: str | None) -> None:
        if found is None:
            self._found.pop(name.text, None)
            return
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        self._found[name.text] = found


def _links(view: View, name: RepositoryName) -> Iterator[str]:
    """Yield where links to manifests would be, as tags and as revisions."""
    for tag in only_tags(view.folders(paths.tags(name))):
        yield paths.tag_current_link(name, Tag(tag))
    for digest in digests(view, paths.revisions(name)):
        yield paths.revision_link(name, digest)
