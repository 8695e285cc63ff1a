"""Access by rules: who asks, whether the rules say yes, and whether a token covers it.

A refusal tells nothing but what the caller asked: whether a repository exists is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import HTTPConnection

from registry_server.audit import notes_of
from registry_server.auth.access import ANONYMOUS, Action, Actor, Decision, PolicyInForce
from registry_server.auth.authenticator import Authenticator
from registry_server.auth.challenges import (
    ADMINISTRATION_SCOPE,
    CATALOG_SCOPE,
    Challenges,
    scope_of,
)
from registry_server.auth.problems import Denied
from storage.interfaces import Visible
from storage.names import RepositoryName

_LOG_IN = "authentication required"
_NOT_GRANTED = "the token does not grant it"


class RuledAccess:
    """Decides by the policy in force; a token only ever takes away from what that allows."""

    def __init__(
        self,
        authenticator: Authenticator,
        policy: PolicyInForce,
        challenges: Challenges,
    ) -> None:
        self._authenticator = authenticator
        self._policy = policy
        self._challenges = challenges

    async def authorize_base(self, connection: HTTPConnection) -> None:
        """Ask for credentials of some kind: a token for nobody will do, where one is to be had."""
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
        """Return, or raise `Unauthenticated` where credentials could help, and `Denied` else."""
        actor = await self._authenticator.actor(connection)
        policy = await self._policy()
        decisions = {each: policy.decide(actor, each, name) for each in actions}
        notes = notes_of(connection.scope)
        for each, decision in decisions.items():
            notes.decided(each, _by_token(decision, actor, name, each))
        refused = [each for each, decision in decisions.items() if not decision.allowed]
        if refused and not actor.is_anonymous:
            words = ", ".join(each.value for each in refused)
            raise Denied(f"{actor.name} may not {words} {name}")
        if refused or not _covered(actor, name, actions):
            scope = scope_of(name, actions)
            if source is not None and source != name:
                # In this order, in which distribution mostly writes them.
                scope = f"{scope} {scope_of(source, (Action.PULL,))}"
            raise self._challenges.unauthenticated(connection, _LOG_IN, scope)

    async def name(self, connection: HTTPConnection) -> str:
        """Return the name that the caller's credentials prove; nothing without any."""
        return (await self._authenticator.actor(connection)).name

    async def authorize_catalog(self, connection: HTTPConnection) -> Visible | None:
        """Return which repositories the caller may pull from; those are the ones it may list."""
        actor = await self._authenticator.actor(connection)
        policy = await self._policy()
        decision = policy.decide_catalog(actor)
        notes_of(connection.scope).decided_catalog(decision)
        allowed = decision.allowed
        if not allowed and not actor.is_anonymous:
            raise Denied(f"{actor.name} may not list repositories")
        if not allowed or (actor.grants is not None and not actor.grants.catalog):
            raise self._challenges.unauthenticated(connection, _LOG_IN, CATALOG_SCOPE)
        # A token for the catalog names no repositories: what they are is for the rules to say.
        return lambda name: policy.decide(actor, Action.PULL, name).allowed

    async def authorize_administration(self, connection: HTTPConnection) -> None:
        """Return if the caller may manage the registry; raise as `authorize` does.

        A token has to be for that: one for images that was handed on must not make keys.
        """
        actor = await self._authenticator.actor(connection)
        decision = (await self._policy()).decide_administration(actor)
        notes = notes_of(connection.scope)
        notes.decided_administration(decision)
        if not decision.allowed and not actor.is_anonymous:
            raise Denied(f"{actor.name} may not administer this registry")
        granted = actor.grants is None or actor.grants.administration
        if decision.allowed and not granted:
            notes.decided_administration(Decision(allowed=False, rule=_NOT_GRANTED))
        if not decision.allowed or not granted:
            raise self._challenges.unauthenticated(connection, _LOG_IN, ADMINISTRATION_SCOPE)

    async def may(self, connection: HTTPConnection, name: RepositoryName, action: Action) -> bool:
        """Tell whether the caller may do `action` with `name`."""
        actor = await self._authenticator.actor(connection)
        policy = await self._policy()
        decision = _by_token(policy.decide(actor, action, name), actor, name, action)
        # Of what is asked in passing only this can be why a push is refused later.
        if action is Action.OVERWRITE:
            notes_of(connection.scope).decided(action, decision)
        return decision.allowed

    async def is_public(self, connection: HTTPConnection, name: RepositoryName) -> bool:
        """Tell whether clients that show nothing may pull."""
        return (await self._policy()).decide(ANONYMOUS, Action.PULL, name).allowed


def _by_token(decision: Decision, actor: Actor, name: RepositoryName, action: Action) -> Decision:
    """Return what the rules decided, or the refusal of a token that is not good for it."""
    if decision.allowed and not _covered(actor, name, (action,)):
        return Decision(allowed=False, rule=_NOT_GRANTED)
    return decision


def _covered(actor: Actor, name: RepositoryName, actions: Iterable[Action]) -> bool:
    """Tell whether the token that was shown, if one was, is good for all of `actions`."""
    grants = actor.grants
    return grants is None or all(grants.allow(action, name) for action in actions)
