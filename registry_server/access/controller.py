"""Access by rules: authenticates the caller, applies the rules, and checks what a token grants.

The decision never depends on whether the repository exists, so a refusal does not reveal it.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import HTTPConnection

from registry_server.access.authenticator import Authenticator
from registry_server.access.challenges import (
    ADMINISTRATION_SCOPE,
    CATALOG_SCOPE,
    Challenges,
    scope_of,
)
from registry_server.access.interfaces import (
    ADMINISTRATION,
    ANONYMOUS,
    CATALOG,
    Action,
    Actor,
    PolicySource,
)
from registry_server.access.refusals import Denied
from registry_server.http.context import Decision, context_of
from storage.interfaces import Visible
from storage.values.names import RepositoryName

_LOG_IN = "authentication required"
_NOT_GRANTED = "the token does not grant it"


class RuledAccess:
    """Decides by the policy in force; a token can only restrict what the policy allows."""

    def __init__(
        self,
        authenticator: Authenticator,
        policy: PolicySource,
        challenges: Challenges,
    ) -> None:
        self._authenticator = authenticator
        self._policy = policy
        self._challenges = challenges

    async def authorize_base(self, connection: HTTPConnection) -> None:
        """Return if the caller has a name or a token, which may be an anonymous one."""
        actor = await self._authenticator.actor(connection)
        if actor.is_anonymous and actor.grants is None:
            raise self._challenges.unauthenticated(connection, _LOG_IN)

    async def authorize(
        self,
        connection: HTTPConnection,
        name: RepositoryName,
        *actions: Action,
        source: RepositoryName | None = None,
    ) -> None:
        """Return, or raise `Unauthenticated` if other credentials could help, else `Denied`."""
        actor = await self._authenticator.actor(connection)
        policy = await self._policy()
        decisions = {action: policy.decide(actor, action, name) for action in actions}
        decided = context_of(connection.scope).decisions
        for action, decision in decisions.items():
            decided[action.value] = _by_token(decision, actor, name, action)
        refused = [action for action, decision in decisions.items() if not decision.allowed]
        if refused and not actor.is_anonymous:
            words = ", ".join(action.value for action in refused)
            raise Denied(f"{actor.name} may not {words} {name}")
        if refused or not _covered(actor, name, actions):
            scope = scope_of(name, actions)
            if source is not None and source != name:
                # The order that distribution uses in most cases.
                scope = f"{scope} {scope_of(source, (Action.PULL,))}"
            raise self._challenges.unauthenticated(connection, _LOG_IN, scope)

    async def name(self, connection: HTTPConnection) -> str:
        return (await self._authenticator.actor(connection)).name

    async def authorize_catalog(self, connection: HTTPConnection) -> Visible | None:
        """Return a filter for the repositories that the caller may pull from."""
        actor = await self._authenticator.actor(connection)
        policy = await self._policy()
        decision = policy.decide_catalog(actor)
        context_of(connection.scope).decisions[CATALOG] = decision
        allowed = decision.allowed
        if not allowed and not actor.is_anonymous:
            raise Denied(f"{actor.name} may not list repositories")
        if not allowed or (actor.grants is not None and not actor.grants.catalog):
            raise self._challenges.unauthenticated(connection, _LOG_IN, CATALOG_SCOPE)
        # A token for the catalog names no repositories, so the rules alone decide about each.
        return lambda name: policy.decide(actor, Action.PULL, name).allowed

    async def authorize_administration(self, connection: HTTPConnection) -> None:
        """Return if the caller may manage the registry; raise as `authorize` does.

        A token must grant administration: a token for images that leaked must not create keys.
        """
        actor = await self._authenticator.actor(connection)
        decision = (await self._policy()).decide_administration(actor)
        decided = context_of(connection.scope).decisions
        decided[ADMINISTRATION] = decision
        if not decision.allowed and not actor.is_anonymous:
            raise Denied(f"{actor.name} may not administer this registry")
        granted = actor.grants is None or actor.grants.administration
        if decision.allowed and not granted:
            decided[ADMINISTRATION] = Decision(allowed=False, rule=_NOT_GRANTED)
        if not decision.allowed or not granted:
            raise self._challenges.unauthenticated(connection, _LOG_IN, ADMINISTRATION_SCOPE)

    async def may(self, connection: HTTPConnection, name: RepositoryName, action: Action) -> bool:
        actor = await self._authenticator.actor(connection)
        policy = await self._policy()
        decision = _by_token(policy.decide(actor, action, name), actor, name, action)
        # Of these checks only OVERWRITE can be the reason why a push is refused later.
        if action is Action.OVERWRITE:
            context_of(connection.scope).decisions[action.value] = decision
        return decision.allowed

    async def is_public(self, connection: HTTPConnection, name: RepositoryName) -> bool:
        return (await self._policy()).decide(ANONYMOUS, Action.PULL, name).allowed


def _by_token(decision: Decision, actor: Actor, name: RepositoryName, action: Action) -> Decision:
    """Return `decision`, or a refusal if the rules allow the action and the token does not."""
    if decision.allowed and not _covered(actor, name, (action,)):
        return Decision(allowed=False, rule=_NOT_GRANTED)
    return decision


def _covered(actor: Actor, name: RepositoryName, actions: Iterable[Action]) -> bool:
    """Return whether the caller's token grants all of `actions`; true without a token."""
    grants = actor.grants
    return grants is None or all(grants.allow(action, name) for action in actions)
