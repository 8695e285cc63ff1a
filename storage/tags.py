"""Tags of one repository: a link each, and a history that is kept as distribution keeps it.

A folder is a tag. A listing looks at no link, because a repository may have ten thousand of them,
so no folder of ours is ever without one. Only while a manifest of many tags is being deleted does
it read links (`storage.deletions`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import TypeAlias

from storage import paths
from storage.concurrency import to_completion
from storage.deletions import being_deleted, gone
from storage.digest import Digest
from storage.drivers.base import Driver, Uses, View
from storage.drivers.changes import Appear, Step
from storage.errors import PathNotFound, TagImmutable
from storage.links import Links, is_member, link_to, read_link
from storage.listing import Page, behind, cut
from storage.names import RepositoryName, Tag, only_tags

Check: TypeAlias = Callable[[Uses], None]

# Appearing and moving fail only when others do the opposite in between.
_ATTEMPTS = 16


class TagStore:
    """Where the tags of repository `name` point; unless it `moves` them, each is set once."""

    def __init__(self, driver: Driver, name: RepositoryName, *, moves: bool = True) -> None:
        self._driver = driver
        self._links = Links(driver)
        self._name = name
        self._moves = moves

    async def get(self, tag: Tag) -> Digest | None:
        """Return what a tag points to now."""
        return await self._links.read(paths.tag_current_link(self._name, tag))

    async def appearing(self, tags: Iterable[Tag], digest: Digest) -> Step:
        """Return the changes that point those of `tags` that are new at a manifest.

        A new tag appears with its history in one instant, so that no crash leaves a folder that
        a listing takes for a tag.
        """
        new = [tag for tag in tags if not await self._driver.exists(paths.tag(self._name, tag))]
        return tuple([self._appear(tag, digest) for tag in new])

    def check_may_point(self, view: View, tag: Tag, digest: Digest) -> None:
        """Raise `TagImmutable` if a tag leads to another manifest and may not be moved.

        One that leads to no manifest of this repository keeps no promise to anybody.
        """
        if self._moves:
            return
        target = self._target(view, tag)
        if target is not None and target != digest and self._leads_on(view, target):
            raise TagImmutable(tag)

    async def point(self, tag: Tag, digest: Digest, check: Check) -> None:
        """Point a tag at a manifest that is durable; `check` says whether it is still there.

        One that is there is moved under a lock, so that nobody removes it for what it pointed to
        before, and nobody else decides that it may be set. Raises `TagImmutable`.
        """
        for _ in range(_ATTEMPTS):
            if await self._move(tag, digest, check):
                return
            if not await self._driver.publish((self._appear(tag, digest),), check=check):
                return
        raise TimeoutError(f"tag {tag} is set and removed all the time")

    def _appear(self, tag: Tag, digest: Digest) -> Appear:
        folder = paths.tag(self._name, tag)
        links = (
            paths.tag_current_link(self._name, tag),
            paths.tag_index_link(self._name, tag, digest),
        )
        content = str(digest).encode()
        return Appear(folder, {link.removeprefix(f"{folder}/"): content for link in links})

    async def _move(self, tag: Tag, digest: Digest, check: Check) -> bool:
        """Move a tag, its history first; False when there is none."""
        folder = paths.tag(self._name, tag)
        try:
            async with self._driver.lock(folder) as held:

                def check_held(view: Uses) -> None:
                    held.check()
                    if not view.names(folder):  # a new tag may take the place of an empty folder
                        raise PathNotFound(folder)
                    self.check_may_point(view, tag, digest)
                    check(view)

                # Carried to its end: who is cancelled must not let go of the lock meanwhile.
                await to_completion(
                    self._driver.publish(
                        (link_to(paths.tag_index_link(self._name, tag, digest), digest),),
                        (link_to(paths.tag_current_link(self._name, tag), digest),),
                        check=check_held,
                    )
                )
        except PathNotFound:
            return False
        return True

    async def remove(self, tag: Tag) -> bool:
        """Remove a tag and its history in one instant; return whether there was one.

        When there was none, that is durable too: who removed it may have failed to sync that.
        """
        if await self._remove(tag):
            return True
        await self._driver.settle(paths.tags(self._name))
        return False

    async def _remove(self, tag: Tag) -> bool:
        """Remove a tag under its lock, if it is there."""
        folder = paths.tag(self._name, tag)
        for _ in range(_ATTEMPTS):
            with suppress(PathNotFound):
                async with self._driver.lock(folder) as held:
                    removing = self._driver.delete(folder, lambda _: held.check())
                    return await to_completion(removing)
            if not await self._driver.batch(lambda view: view.names(folder)):
                return False
        raise TimeoutError(f"tag {tag} is set and removed all the time")

    def page(self, view: View, after: str, limit: int | None) -> Page[Tag]:
        """List tags in the order of their bytes, those behind `after`.

        Names before and behind the page are not looked at, so it costs the same wherever it starts.
        """
        # A deletion may begin or end while the names are read.
        doubtful = being_deleted(view, self._name)
        names = behind(view.folders(paths.tags(self._name)), after)
        doubtful |= being_deleted(view, self._name)
        return cut(self._answering(view, map(Tag, only_tags(names)), doubtful), limit)

    def _answering(
        self, view: View, tags: Iterable[Tag], doubtful: Collection[Digest]
    ) -> Iterable[Tag]:
        """Leave out tags of `doubtful` manifests that are deleted; without one, read no link."""
        dead = gone(view, self._name, doubtful)
        return (tag for tag in tags if self._target(view, tag) not in dead) if dead else tags

    def _leads_on(self, view: View, digest: Digest) -> bool:
        """Tell whether a tag that points to `digest` answers, as far as a look tells."""
        found = view.stat(paths.blob(digest))
        return found is not None and found.size > 0 and is_member(view, self._name, digest)

    def _target(self, view: View, tag: Tag) -> Digest | None:
        return read_link(view, paths.tag_current_link(self._name, tag))
