"""Who asks, what they want, and the question the gate asks before it opens a repository.

    credentials ─► Authenticator ─► Actor ─┐
                                           ├─► AccessController ─► the gate
    rules ───────► Policy ─► Decision ─────┘

Nothing else on the wire decides about access.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from starlette.requests import HTTPConnection

from storage.interfaces import Visible
from storage.names import RepositoryName


class Action(Enum):
    """What a request wants, in the words of the token scope grammar where that has one.

    PUSH is to add: blobs, manifests, new tags. OVERWRITE is to move a tag that is there.
    """

    PULL = "pull"
    PUSH = "push"
    OVERWRITE = "overwrite"
    DELETE = "delete"


# What the listing of repositories and the management of the registry are called. They are no
# `Action`, for they are about no repository.
CATALOG = "catalog"
ADMINISTRATION = "administration"


@dataclass(frozen=True, slots=True)
class Grants:
    """What a bearer token is good for; it only ever takes away from what the rules allow.

    `repositories` has the actions by the name of the repository, `catalog` is whether these may be
    listed, `administration` whether the registry may be managed.
    """

    repositories: Mapping[str, frozenset[Action]]
    catalog: bool = False
    administration: bool = False

    def allow(self, action: Action, name: RepositoryName) -> bool:
        """Tell whether the token may be used for `action` on `name`."""
        return action in self.repositories.get(name.text, ())


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a user, a robot, or nobody known, who has no name.

    `grants` is None unless the credentials were a token. `generation` tells a robot from another
    one that had the name before.
    """

    name: str = ""
    groups: frozenset[str] = frozenset()
    grants: Grants | None = None
    generation: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody is known: no credentials were shown, or a token that is for nobody."""
        return not self.name


ANONYMOUS = Actor()


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and by which rule: a text for operators, never for clients."""

    allowed: bool
    rule: str


class Policy(Protocol):
    """Decides by name and groups alone, without looking at anything else (pure)."""

    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        """Decide whether `actor` may do `action` with repository `name`."""

    def decide_catalog(self, actor: Actor) -> Decision:
        """Decide whether `actor` may list repositories at all; each is decided by `decide`."""

    def decide_administration(self, actor: Actor) -> Decision:
        """Decide whether `actor` may manage the registry itself, which no other right includes."""


# Returns the policy in force, which may be another one for the next request.
PolicyInForce: TypeAlias = Callable[[], Awaitable[Policy]]


class Credentials(Protocol):
    """A keeper of passwords, of people or of robots."""

    async def verify(self, name: str, password: str) -> Actor | None:
        """Return who that is; None when there is nobody of that name and password."""


class AccessController(Protocol):
    """Decides who may do what. A refusal is an exception that the error table knows."""

    async def authorize_base(self, connection: HTTPConnection) -> None:
        """Return if the caller may know that this is a registry (`/v2/`)."""

    async def authorize(
        self,
        connection: HTTPConnection,
        name: RepositoryName,
        *actions: Action,
        source: RepositoryName | None = None,
    ) -> None:
        """Return if the caller may do all of `actions` with repository `name`.

        A challenge also asks for `pull` on `source`, so that one token is enough for a mount.
        """

    async def name(self, connection: HTTPConnection) -> str:
        """Return the caller's name; nothing for nobody known."""

    async def authorize_catalog(self, connection: HTTPConnection) -> Visible | None:
        """Return which repositories the caller may list; None for all of them."""

    async def may(self, connection: HTTPConnection, name: RepositoryName, action: Action) -> bool:
        """Tell whether the caller may do `action` with `name`, without refusing anything."""

    async def is_public(self, connection: HTTPConnection, name: RepositoryName) -> bool:
        """Tell whether clients that show nothing may pull from `name`, as the caller may."""


class OpenAccess:
    """Everybody may do everything."""

    async def authorize_base(self, connection: HTTPConnection) -> None:
        """Agree."""

    async def authorize(
        self,
        connection: HTTPConnection,
        name: RepositoryName,
        *actions: Action,
        source: RepositoryName | None = None,
    ) -> None:
        """Agree."""

    async def name(self, connection: HTTPConnection) -> str:
        """Know nobody."""
        return ""

    async def authorize_catalog(self, connection: HTTPConnection) -> Visible | None:
        """Agree to all."""
        return None

    async def may(self, connection: HTTPConnection, name: RepositoryName, action: Action) -> bool:
        """Agree."""
        return True

    async def is_public(self, connection: HTTPConnection, name: RepositoryName) -> bool:
        """Agree."""
        return True
