"""The types of access control: actors, actions, decisions, policies and controllers.

    credentials ─► Authenticator ─► Actor ─┐
                                           ├─► AccessController ─► the gate
    rules ───────► Policy ─► Decision ─────┘

The gate calls the controller before it opens a repository. Nothing else decides about access.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from starlette.requests import HTTPConnection

from registry_server.http.context import Decision
from storage.interfaces import Visible
from storage.values.names import RepositoryName


class Action(Enum):
    """What a request does with a repository, in the words of the token scope grammar.

    PUSH adds blobs, manifests and new tags. OVERWRITE moves an existing tag; the grammar has no
    word for it.
    """

    PULL = "pull"
    PUSH = "push"
    OVERWRITE = "overwrite"
    DELETE = "delete"


# Listing repositories and managing the registry concern no repository, so they are no `Action`.
CATALOG = "catalog"
ADMINISTRATION = "administration"


@dataclass(frozen=True, slots=True)
class Grants:
    """What a bearer token grants; it can restrict what the rules allow, never extend it.

    `repositories` has the granted actions by repository name, `catalog` grants listing
    repositories, `administration` grants managing the registry.
    """

    repositories: Mapping[str, frozenset[Action]]
    catalog: bool = False
    administration: bool = False

    def allow(self, action: Action, name: RepositoryName) -> bool:
        """Return whether the token grants `action` on `name`."""
        return action in self.repositories.get(name.text, ())


@dataclass(frozen=True, slots=True)
class Actor:
    """The caller of a request: a user, a robot account, or an anonymous client (no name).

    `grants` is None unless the credentials were a token. `generation` distinguishes a robot account
    from an earlier one of the same name.
    """

    name: str = ""
    groups: frozenset[str] = frozenset()
    grants: Grants | None = None
    generation: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether the caller sent no credentials, or a token without a subject."""
        return not self.name


ANONYMOUS = Actor()


class Policy(Protocol):
    """Decides by the caller's name and groups alone (pure)."""

    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        """Decide whether `actor` may do `action` with repository `name`."""

    def decide_catalog(self, actor: Actor) -> Decision:
        """Decide whether `actor` may list repositories at all; each is decided by `decide`."""

    def decide_administration(self, actor: Actor) -> Decision:
        """Decide whether `actor` may manage the registry; no other right includes that."""


# Returns the policy in force; a file of rules can change it between two requests.
PolicySource: TypeAlias = Callable[[], Awaitable[Policy]]


class Credentials(Protocol):
    """A store of passwords: of users or of robot accounts."""

    async def verify(self, name: str, password: str) -> Actor | None:
        """Return the actor with that name and password, or None if either is wrong."""


class AccessController(Protocol):
    """Decides what a caller may do. A refusal is an exception that the error table renders."""

    async def authorize_base(self, connection: HTTPConnection) -> None:
        """Return if the caller may use the base endpoint (`/v2/`)."""

    async def authorize(
        self,
        connection: HTTPConnection,
        name: RepositoryName,
        *actions: Action,
        source: RepositoryName | None = None,
    ) -> None:
        """Return if the caller may do all of `actions` with repository `name`, raise otherwise.

        A challenge also asks for `pull` on `source`, so that one token is enough for a mount.
        """

    async def name(self, connection: HTTPConnection) -> str:
        """Return the caller's name, or "" if the caller is anonymous."""

    async def authorize_catalog(self, connection: HTTPConnection) -> Visible | None:
        """Return a filter for the repositories that the caller may list; None for all of them."""

    async def may(self, connection: HTTPConnection, name: RepositoryName, action: Action) -> bool:
        """Return whether the caller may do `action` with `name`; a refusal raises nothing."""

    async def is_public(self, connection: HTTPConnection, name: RepositoryName) -> bool:
        """Return whether anonymous clients may pull from `name`."""


class OpenAccess:
    """Allows everything to every caller: the controller without access control."""

    async def authorize_base(self, connection: HTTPConnection) -> None:
        pass

    async def authorize(
        self,
        connection: HTTPConnection,
        name: RepositoryName,
        *actions: Action,
        source: RepositoryName | None = None,
    ) -> None:
        pass

    async def name(self, connection: HTTPConnection) -> str:
        return ""

    async def authorize_catalog(self, connection: HTTPConnection) -> Visible | None:
        return None

    async def may(self, connection: HTTPConnection, name: RepositoryName, action: Action) -> bool:
        return True

    async def is_public(self, connection: HTTPConnection, name: RepositoryName) -> bool:
        return True
