"""Tags of one repository: a link each, and a history that is kept as distribution keeps it.

A folder is a tag. A listing looks at no link, because a repository may have ten thousand of them;
so the link of a new tag is written before its history. Only a push that is cut off in the midst
of that first write leaves a folder without a link: a listing names it, a pull answers 404, and the
next push of the tag completes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage import paths
from storage.digest import Digest
from storage.drivers.base import Driver, View
from storage.links import Links, read_link
from storage.listing import Page, cut
from storage.names import RepositoryName, Tag, is_tag


class TagStore:
    """Where the tags of repository `name` point."""

    def __init__(self, driver: Driver, name: RepositoryName) -> None:
        self._driver = driver
        self._links = Links(driver)
        self._name = name

    async def get(self, tag: Tag) -> Digest | None:
        """Return what a tag points to now."""
        return await self._links.read(paths.tag_current_link(self._name, tag))

    async def point(self, tag: Tag, digest: Digest) -> None:
        """Point a tag at a manifest that is durable.

        The history goes first, so that it lacks nothing the tag ever pointed to; only a new tag's
        comes second.
        """
        current = paths.tag_current_link(self._name, tag)
        history = paths.tag_index_link(self._name, tag, digest)
        is_new = await self.get(tag) is None
        for link in (current, history) if is_new else (history, current):
            await self._links.write(link, digest)

    async def remove(self, tag: Tag) -> bool:
        """Remove a tag and its history in one instant; return whether there was one."""
        return await self._driver.delete(paths.tag(self._name, tag))

    async def page(self, after: str, limit: int | None) -> Page[Tag]:
        """List tags in the order of their bytes, those behind `after`."""

        def job(view: View) -> Page[Tag]:
            names = sorted(name for name in self._names(view) if name > after)
            return cut(map(Tag, names), limit)

        return await self._driver.batch(job)

    async def pointing_to(self, digest: Digest) -> list[Tag]:
        """Find every tag that points to `digest` now."""

        def job(view: View) -> list[Tag]:
            tags = map(Tag, self._names(view))
            return [tag for tag in tags if self._target(view, tag) == digest]

        return await self._driver.batch(job)

    def _names(self, view: View) -> Iterator[str]:
        return filter(is_tag, view.folders(paths.tags(self._name)))

    def _target(self, view: View, tag: Tag) -> Digest | None:
        return read_link(view, paths.tag_current_link(self._name, tag))
