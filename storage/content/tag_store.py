"""The tags of a repository: a link each, and a history in the format of distribution.

Every folder counts as a tag. A listing reads no links, because a repository may have ten thousand
tags, so this registry never creates a tag's folder without its link. Only while a manifest with
many tags is being deleted does a listing read links (`storage.content.deletions`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import TypeAlias

from storage.concurrency.cancellation import to_completion
from storage.content.deletions import not_members, pending_deletions
from storage.content.links import Links, is_member, link_change, read_link
from storage.drivers.base import Driver, Reader, TouchingReader
from storage.drivers.changes import Appear, Step
from storage.errors import PathNotFound, TagImmutable
from storage.values import paths
from storage.values.digest import Digest
from storage.values.listing import Page, behind, cut
from storage.values.names import RepositoryName, Tag, only_tags

Check: TypeAlias = Callable[[TouchingReader], None]

# Creating or moving a tag fails only if another request removed or created it in between.
_ATTEMPTS = 16


class TagStore:
    """The tags of repository `name`; unless it `moves` tags, a tag can only be set once."""

    def __init__(self, driver: Driver, name: RepositoryName, *, moves: bool = True) -> None:
        self._driver = driver
        self._links = Links(driver)
        self._name = name
        self._moves = moves

    async def get(self, tag: Tag) -> Digest | None:
        """Return the digest that a tag points to; None when there is no such tag."""
        return await self._links.read(paths.tag_current_link(self._name, tag))

    async def creation_changes(self, tags: Iterable[Tag], digest: Digest) -> Step:
        """Return the changes that create those of `tags` that do not exist yet.

        A new tag and its history are created atomically, so that no crash leaves a folder that a
        listing would take for a tag.
        """
        new = [tag for tag in tags if not await self._driver.exists(paths.tag(self._name, tag))]
        return tuple([self._creation(tag, digest) for tag in new])

    def check_may_point(self, reader: Reader, tag: Tag, digest: Digest) -> None:
        """Raise `TagImmutable` if a tag points to another manifest and may not be moved.

        A dangling tag may be set again.
        """
        if self._moves:
            return
        target = self._target(reader, tag)
        if target is not None and target != digest and self._is_pullable(reader, target):
            raise TagImmutable(tag)

    async def point(self, tag: Tag, digest: Digest, check: Check) -> None:
        """Point a tag at a durable manifest; `check` raises if the manifest was deleted.

        An existing tag is moved under its folder lock: no other request can remove it because of
        its previous target, or decide concurrently that it may be set. Raises `TagImmutable`.
        """
        for _ in range(_ATTEMPTS):
            if await self._move(tag, digest, check):
                return
            if not await self._driver.publish((self._creation(tag, digest),), check=check):
                return
        raise TimeoutError(f"tag {tag} keeps being removed while it is set")

    def _creation(self, tag: Tag, digest: Digest) -> Appear:
        folder = paths.tag(self._name, tag)
        links = (
            paths.tag_current_link(self._name, tag),
            paths.tag_index_link(self._name, tag, digest),
        )
        content = str(digest).encode()
        return Appear(folder, {link.removeprefix(f"{folder}/"): content for link in links})

    async def _move(self, tag: Tag, digest: Digest, check: Check) -> bool:
        """Move a tag, its history first; return False when it does not exist."""
        folder = paths.tag(self._name, tag)
        try:
            async with self._driver.lock(folder) as folder_lock:

                def check_all(reader: TouchingReader) -> None:
                    folder_lock.check()
                    if not reader.names(folder):  # a new tag may replace an empty folder
                        raise PathNotFound(folder)
                    self.check_may_point(reader, tag, digest)
                    check(reader)

                # Run to completion: a cancelled request must hold the lock until the change ends.
                await to_completion(
                    self._driver.publish(
                        (link_change(paths.tag_index_link(self._name, tag, digest), digest),),
                        (link_change(paths.tag_current_link(self._name, tag), digest),),
                        check=check_all,
                    )
                )
        except PathNotFound:
            return False
        return True

    async def remove(self, tag: Tag) -> bool:
        """Remove a tag and its history atomically and durably; return whether it existed.

        If it did not exist, its removal is synced, because an earlier fsync may have failed.
        """
        if await self._remove(tag):
            return True
        await self._driver.sync_removals(paths.tags(self._name))
        return False

    async def _remove(self, tag: Tag) -> bool:
        """Remove a tag under its folder lock, if it exists."""
        folder = paths.tag(self._name, tag)
        for _ in range(_ATTEMPTS):
            with suppress(PathNotFound):
                async with self._driver.lock(folder) as folder_lock:
                    removing = self._driver.delete(folder, lambda _: folder_lock.check())
                    return await to_completion(removing)
            if not await self._driver.batch(lambda reader: reader.names(folder)):
                return False
        raise TimeoutError(f"tag {tag} keeps being set while it is removed")

    def page(self, reader: Reader, after: str, limit: int | None) -> Page[Tag]:
        """List the tags after `after` in byte order.

        Names outside the page are not examined, so a page costs the same wherever it starts.
        """
        # A deletion may start or end while the names are read.
        doubtful = pending_deletions(reader, self._name)
        names = behind(reader.folders(paths.tags(self._name)), after)
        doubtful |= pending_deletions(reader, self._name)
        return cut(self._without_deleted(reader, map(Tag, only_tags(names)), doubtful), limit)

    def _without_deleted(
        self, reader: Reader, tags: Iterable[Tag], doubtful: Collection[Digest]
    ) -> Iterable[Tag]:
        """Skip tags of `doubtful` manifests that are deleted; if none is, read no link."""
        deleted = not_members(reader, self._name, doubtful)
        return (
            (tag for tag in tags if self._target(reader, tag) not in deleted) if deleted else tags
        )

    def _is_pullable(self, reader: Reader, digest: Digest) -> bool:
        """Return whether a manifest is a member and has content, without reading the content."""
        info = reader.stat(paths.blob(digest))
        return info is not None and info.size > 0 and is_member(reader, self._name, digest)

    def _target(self, reader: Reader, tag: Tag) -> Digest | None:
        return read_link(reader, paths.tag_current_link(self._name, tag))
