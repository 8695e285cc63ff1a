"""A base for wrappers of a registry; they override the methods that they change."""

from __future__ import annotations

from collections.abc import Hashable

from storage.interfaces import Registry, Repository, Visible
from storage.values.digest import Digest
from storage.values.listing import Page
from storage.values.names import RepositoryName


class WrappedRegistry:
    """Passes every call on to `inner`."""

    def __init__(self, inner: Registry) -> None:
        self._inner = inner

    def repository(self, name: RepositoryName, *, moves_tags: bool = True) -> Repository:
        return self._inner.repository(name, moves_tags=moves_tags)

    async def catalog(
        self,
        after: str,
        limit: int,
        visible: Visible | None = None,
        caller: Hashable = None,
    ) -> Page[RepositoryName]:
        return await self._inner.catalog(after, limit, visible, caller)

    async def holders(self, digest: Digest, caller: Hashable = None) -> list[RepositoryName]:
        return await self._inner.holders(digest, caller)

    async def remove(self, name: RepositoryName) -> None:
        await self._inner.remove(name)
