"""`registry-server explain`: whether the access rules allow an action, and which rule decides.

    registry-server explain ann push team/app --config config.yml
    registry-server explain anonymous catalog --config config.yml
    registry-server explain ann administration --config config.yml

Only the rules are applied: no password is checked, and no token narrows what they grant.

Exit codes: 0 allowed; 1 denied; 2 the command line or the configuration is invalid, or there are no
rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from registry_server.access.interfaces import (
    ADMINISTRATION,
    ANONYMOUS,
    CATALOG,
    Action,
    Actor,
    Policy,
)
from registry_server.access.rules import RulesPolicy, parse_rules, policy_of
from registry_server.commands.arguments import ConfigOption
from registry_server.commands.common import fail, load_or_fail
from registry_server.commands.exit_codes import FAILED
from registry_server.config.access import Access
from registry_server.config.callers import caller_name, robot_of_login
from registry_server.config.problems import listed
from registry_server.files.watched_file import WatchedFile
from registry_server.http.context import Decision
from storage.errors import NameInvalid
from storage.values.names import RepositoryName

_ANONYMOUS_NAMES = ("-", "anonymous")
# Actions on the registry as a whole, in words.
_WHOLE = {CATALOG: "list repositories", ADMINISTRATION: "administer the registry"}
_ACTIONS = (*(action.value for action in Action), *_WHOLE)
# Other actions that the registry requires for an action.
_REQUIRED = {Action.PUSH: (Action.PULL,), Action.OVERWRITE: (Action.PULL, Action.PUSH)}


@dataclass(frozen=True, slots=True)
class Question:
    """May `actor` do `action` on the repository `name`, or on the registry if None?"""

    actor: Actor
    action: str
    name: RepositoryName | None = None

    @staticmethod
    def parse(user: str, action: str, repository: str | None, groups: Iterable[str]) -> Question:
        """Parse a question; raise ValueError or `NameInvalid` when it is invalid."""
        if not user:
            raise ValueError("USER is empty; for a client without credentials use anonymous")
        actor = ANONYMOUS if user in _ANONYMOUS_NAMES else Actor(_caller(user), frozenset(groups))
        if action in _WHOLE:
            return Question(actor, action)
        if action not in _ACTIONS:
            raise ValueError(f"{action!r} is not an action; use one of: {', '.join(_ACTIONS)}")
        if repository is None:
            raise ValueError(f"REPOSITORY is missing; only {listed(tuple(_WHOLE))} need none")
        return Question(actor, action, RepositoryName.parse(repository))

    def put_to(self, policy: Policy) -> Decision:
        """Return the decision of the rules."""
        if self.action == ADMINISTRATION:
            return policy.decide_administration(self.actor)
        if self.name is None:
            return policy.decide_catalog(self.actor)
        return _decided(policy, self.actor, Action(self.action), self.name)

    def answered(self, decision: Decision) -> str:
        """Return the decision as a line."""
        verdict, may = ("allowed", "may") if decision.allowed else ("denied", "may not")
        asked = _WHOLE.get(self.action) or f"{self.action} {self.name}"
        return f"{verdict}: {self.actor.name or 'anonymous'} {may} {asked}: {decision.rule}"


def _decided(policy: Policy, actor: Actor, action: Action, name: RepositoryName) -> Decision:
    """Decide as the registry does: push also needs pull, overwrite also needs both."""
    decision = policy.decide(actor, action, name)
    if not decision.allowed:
        return decision
    for required in _REQUIRED.get(action, ()):
        other = policy.decide(actor, required, name)
        if not other.allowed:
            also = f"{action.value} also needs {required.value}: {other.rule}"
            return Decision(allowed=False, rule=also)
    return decision


def _caller(user: str) -> str:
    """Return the name of a user or robot account in the rules; raise ValueError if invalid."""
    try:
        return caller_name(robot_of_login(user))
    except ValueError as error:
        raise ValueError(f"USER {error}") from None


def explain(
    user: Annotated[
        str,
        typer.Argument(metavar="USER", help="User name, robot:NAME, or anonymous (-)."),
    ],
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"{', '.join(_ACTIONS)}.")],
    repository: Annotated[
        str | None,
        typer.Argument(
            metavar="REPOSITORY",
            help="Repository; not for catalog and administration.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="An additional group of USER; repeatable."),
    ] = None,
) -> None:
    """Show whether the access rules allow an action, and which rule decides."""
    try:
        question = Question.parse(user, action, repository, group or [])
    except (ValueError, NameInvalid) as error:
        fail(str(error))
    settings = load_or_fail(config).settings
    policy = read_policy(settings.access, users_in_file=settings.users_in_file)
    if unknown := question.actor.groups - policy.groups:
        fail(f"--group {min(unknown)}: the rules define no such group")
    decision = question.put_to(policy)
    typer.echo(question.answered(decision))
    raise typer.Exit(0 if decision.allowed else FAILED)


def read_policy(access: Access, *, users_in_file: bool = False) -> RulesPolicy:
    """Return the current access rules; fail when there are none."""
    if not access.configured:
        fail("no rules are configured: access has neither rules nor a file")
    if access.file is None:
        return policy_of(access)
    parse = partial(parse_rules, users_in_file=users_in_file)
    try:
        return asyncio.run(WatchedFile(access.file, parse).now())
    except OSError as error:
        fail(f"{access.file} can't be read: {error.strerror or error}")
    except ValueError as error:
        fail(f"{access.file} can't be used: {error}")
