"""The only way to a repository: parse its name, authorize the caller, open it.

The name comes from the matched route, never from `request.url`, which is rebuilt from a header of
the caller (CVE-2026-48710).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import Request
from starlette.types import Scope

from registry_server.access.interfaces import AccessController, Action
from registry_server.http.clients import client_address, limit_key
from storage.errors import UploadUnknown
from storage.interfaces import Registry, Repository, Visible
from storage.values.digest import Digest
from storage.values.listing import Page
from storage.values.names import RepositoryName, UploadId

_MOST_OPEN = 1024
# Repositories that the rules decide about in one turn of the event loop, some 30 us each.
DECIDED_PER_TURN = 32


@dataclass(frozen=True, slots=True)
class Catalog:
    """The repositories that `caller` may list."""

    registry: Registry
    visible: Visible | None
    caller: str

    async def page(self, after: str, limit: int) -> Page[RepositoryName]:
        """List the repositories after `after`, in the order of their bytes."""
        return await self.registry.catalog(after, limit, self.visible, self.caller)


class Gate:
    """Opens repositories for handlers after it has authorized the caller.

    With `admits_by_certificate`, only clients with a certificate can connect, so nothing is public.
    """

    def __init__(
        self,
        registry: Registry,
        access: AccessController,
        *,
        admits_by_certificate: bool = False,
        address: Callable[[Scope], str] = client_address,
    ) -> None:
        self._registry = registry
        self._access = access
        self._admits_by_certificate = admits_by_certificate
        self._address = address
        # An open repository has no state of a caller, so all callers share it.
        self._open = lru_cache(maxsize=_MOST_OPEN)(registry.repository)
        # Limits searches through many repositories to one at a time.
        self._searching = asyncio.Lock()

    async def base(self, request: Request) -> None:
        """Authorize the caller for the base endpoint."""
        await self._access.authorize_base(request)

    async def repository(
        self, request: Request, *actions: Action, source: RepositoryName | None = None
    ) -> Repository:
        """Authorize `actions` on the repository of the route, and open it.

        A challenge also names `source`, the repository to mount a blob from. Raises `NameInvalid`,
        and what the access controller raises.
        """
        name = RepositoryName.parse(request.path_params["name"])
        await self._access.authorize(request, name, *actions, source=source)
        return self._open(name)

    async def is_public(self, request: Request, repository: Repository) -> bool:
        """Return whether anonymous clients may pull from the repository."""
        if self._admits_by_certificate:
            return False
        return await self._access.is_public(request, repository.name)

    async def repository_for_push(self, request: Request) -> Repository:
        """Open the repository of the route for pushing a manifest and its tags.

        If the caller may not move tags, the repository refuses to move existing ones.
        """
        repository = await self.repository(request, Action.PULL, Action.PUSH)
        if await self._access.may(request, repository.name, Action.OVERWRITE):
            return repository
        return self._registry.repository(repository.name, moves_tags=False)

    async def owner(self, request: Request) -> str:
        """Return the owner of an upload that the caller starts; "" for an anonymous caller."""
        return await self._access.name(request)

    async def caller(self, request: Request) -> str:
        """Return the caller's name, or its address if it is anonymous, for sharing long reads."""
        return await self._access.name(request) or limit_key(self._address(request.scope))

    async def upload(self, request: Request) -> UploadId:
        """Return the id of the upload session in the route, if it belongs to the caller.

        Raises `UploadIdInvalid`, and `UploadUnknown` for a session of another user: the answer does
        not reveal that it exists.
        """
        id = UploadId.parse(request.path_params["upload"])
        if not id.belongs_to(await self._access.name(request)):
            raise UploadUnknown(id)
        return id

    async def catalog(self, request: Request) -> Catalog:
        """Return the repositories that the caller may list."""
        visible = await self._access.authorize_catalog(request)
        return Catalog(self._registry, visible, await self.caller(request))

    async def mount_source(
        self, request: Request, digest: Digest, named: RepositoryName | None
    ) -> RepositoryName | None:
        """Return a repository to mount a blob from: `named`, or any that has the blob.

        The caller must be allowed to pull from it; otherwise a mount would reveal what exists, or
        give access to content that the caller may not read.
        """
        if named is not None:
            return named if await self._access.may(request, named, Action.PULL) else None
        names = await self._registry.holders(digest, await self.caller(request))
        async with self._searching:
            return await self._first_to_pull_from(request, names)

    async def _first_to_pull_from(
        self, request: Request, names: Sequence[RepositoryName]
    ) -> RepositoryName | None:
        """Return the first repository that the caller may pull from, without blocking the loop."""
        for decided, name in enumerate(names, start=1):
            if await self._access.may(request, name, Action.PULL):
                return name
            if decided % DECIDED_PER_TURN == 0:
                await asyncio.sleep(0)
        return None
