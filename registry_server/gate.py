"""The one way to a repository: parse its name, ask whether the caller may, open it.

The name comes from the matched route, never from `request.url`: that is rebuilt from a header the
caller chose (CVE-2026-48710).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import Request
from starlette.types import Scope

from registry_server.auth.access import AccessController, Action
from registry_server.clients import client_address, counted_as
from storage.digest import Digest
from storage.errors import UploadUnknown
from storage.interfaces import Registry, Repository, Visible
from storage.listing import Page
from storage.names import RepositoryName, UploadId

_MOST_OPEN = 1024
# Repositories for which the rules are asked in one turn of the event loop, some 30 us each.
ASKED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Catalog:
    """The repositories that `caller` may list."""

    registry: Registry
    visible: Visible | None
    caller: str

    async def page(self, after: str, limit: int) -> Page[RepositoryName]:
        """List those behind `after`, in the order of their bytes."""
        return await self.registry.catalog(after, limit, self.visible, self.caller)


class Gate:
    """Stands between every handler and the registry.

    If it `admits_by_certificate`, only clients with a certificate connect, and nothing is public.
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
        # An opened repository remembers nothing, so one serves all who may have it.
        self._open = lru_cache(maxsize=_MOST_OPEN)(registry.repository)
        # Held by the one search that asks the rules for each of many repositories.
        self._asking = asyncio.Lock()

    async def base(self, request: Request) -> None:
        """Let the caller learn that this is a registry."""
        await self._access.authorize_base(request)

    async def repository(
        self, request: Request, *actions: Action, source: RepositoryName | None = None
    ) -> Repository:
        """Open the repository the route names, for `actions`.

        A challenge names `source` as well, from which the caller wants to mount a blob.

        Raises `NameInvalid`, or what the access controller raises.
        """
        name = RepositoryName.parse(request.path_params["name"])
        await self._access.authorize(request, name, *actions, source=source)
        return self._open(name)

    async def is_public(self, request: Request, repository: Repository) -> bool:
        """Tell whether every client may pull what the caller may pull."""
        if self._admits_by_certificate:
            return False
        return await self._access.is_public(request, repository.name)

    async def pushed_to(self, request: Request) -> Repository:
        """Open the repository the route names for a manifest to be pushed, and tags to be set.

        Where the caller may not move tags, those that are there stay what they are.
        """
        repository = await self.repository(request, Action.PULL, Action.PUSH)
        if await self._access.may(request, repository.name, Action.OVERWRITE):
            return repository
        return self._registry.repository(repository.name, moves_tags=False)

    async def owner(self, request: Request) -> str:
        """Return whose an upload is that the caller begins: nobody's where nobody is known."""
        return await self._access.name(request)

    async def caller(self, request: Request) -> str:
        """Return the name of the caller, or else its address: long reads of one take turns."""
        return await self._access.name(request) or counted_as(self._address(request.scope))

    async def upload(self, request: Request) -> UploadId:
        """Return the id of the session the route names, if it is the caller's to go on with.

        Raises `UploadIdInvalid`, and `UploadUnknown` for another's: nothing tells that it is there.
        """
        id = UploadId.parse(request.path_params["upload"])
        if not id.is_of(await self._access.name(request)):
            raise UploadUnknown(id)
        return id

    async def catalog(self, request: Request) -> Catalog:
        """Open what the caller may list."""
        visible = await self._access.authorize_catalog(request)
        return Catalog(self._registry, visible, await self.caller(request))

    async def mount_source(
        self, request: Request, digest: Digest, named: RepositoryName | None
    ) -> RepositoryName | None:
        """Find a repository to mount a blob from: `named`, or any that has it.

        Only one the caller may pull from will do; otherwise a mount would tell what exists, or
        hand out what the caller may not read.
        """
        if named is not None:
            return named if await self._access.may(request, named, Action.PULL) else None
        names = await self._registry.holders(digest, await self.caller(request))
        async with self._asking:
            return await self._first_to_pull_from(request, names)

    async def _first_to_pull_from(
        self, request: Request, names: Sequence[RepositoryName]
    ) -> RepositoryName | None:
        """Find the first that the caller may pull from; leave the loop to others now and then."""
        for asked, name in enumerate(names, start=1):
            if await self._access.may(request, name, Action.PULL):
                return name
            if asked % ASKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return None
