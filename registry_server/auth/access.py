"""The question the gate asks before it opens a repository, and the controller that always agrees.

Controllers that do not always agree join here; nothing else on the wire decides about access.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from starlette.requests import HTTPConnection

from storage.names import RepositoryName


class Action(Enum):
    """What a request wants with a repository, in the words of the token scope grammar."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


class AccessController(Protocol):
    """Decides who may do what. A refusal is an exception that the error table knows."""

    async def authorize_base(self, connection: HTTPConnection) -> None:
        """Return if the caller may know that this is a registry (`/v2/`)."""

    async def authorize(
        self, connection: HTTPConnection, name: RepositoryName, *actions: Action
    ) -> None:
        """Return if the caller may do all of `actions` with repository `name`."""

    async def authorize_catalog(self, connection: HTTPConnection) -> None:
        """Return if the caller may list repositories (`registry:catalog:*`)."""

    async def may_pull(self, connection: HTTPConnection, name: RepositoryName) -> bool:
        """Tell whether the caller may pull from `name`, without refusing anything."""


class OpenAccess:
    """Everybody may do everything. The configuration refuses `auth` rather than end up here."""

    async def authorize_base(self, connection: HTTPConnection) -> None:
        """Agree."""

    async def authorize(
        self, connection: HTTPConnection, name: RepositoryName, *actions: Action
    ) -> None:
        """Agree."""

    async def authorize_catalog(self, connection: HTTPConnection) -> None:
        """Agree."""

    async def may_pull(self, connection: HTTPConnection, name: RepositoryName) -> bool:
        """Agree."""
        return True
