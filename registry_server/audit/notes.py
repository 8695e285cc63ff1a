"""The audit context of a request: facts that the layers below record for the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

from registry_server.access.interfaces import ADMINISTRATION, CATALOG, Action, Actor, Decision
from storage.values.names import RepositoryName

# The key in a request's scope. Copies of the scope share the object, so the outer wrapper sees it.
AUDIT_CONTEXT = "registry.audit_context"


@dataclass(slots=True)
class AuditContext:
    """The facts about one request.

    `robot` is the managed robot account, if the path does not name it. `logged_in` tells whether
    the token server accepted a password. `limit` is the limit that refused an otherwise allowed
    request. `source` is the repository that a blob was mounted from.
    """

    caller: str = ""
    robot: str = ""
    logged_in: bool = False
    limit: str = ""
    source: str = ""
    decisions: dict[str, Decision] = field(default_factory=dict)

    def set_caller(self, actor: Actor) -> None:
        """Record the authenticated caller."""
        self.caller = actor.name

    def set_login(self, actor: Actor) -> None:
        """Record a login at the token server."""
        self.caller, self.logged_in = actor.name, True

    def set_limit(self, limit: str) -> None:
        """Record the limit that refused the request."""
        self.limit = limit

    def add_decision(self, action: Action, decision: Decision) -> None:
        """Record the decision about an action on a repository."""
        self.decisions[action.value] = decision

    def add_catalog_decision(self, decision: Decision) -> None:
        """Record the decision about listing repositories."""
        self.decisions[CATALOG] = decision

    def add_administration_decision(self, decision: Decision) -> None:
        """Record the decision about managing the registry."""
        self.decisions[ADMINISTRATION] = decision

    def set_source(self, source: RepositoryName) -> None:
        """Record the source of a mount, which the request need not name."""
        self.source = source.text

    def set_robot(self, robot: str) -> None:
        """Record the managed robot account."""
        self.robot = robot

    def rule(self, action: str) -> str:
        """Return the rule that decided an action; "" if the action was not decided."""
        decision = self.decisions.get(action)
        return decision.rule if decision is not None else ""

    def first_refusal(self) -> tuple[str, str] | None:
        """Return the first refused action and the rule that refused it."""
        refusals = (
            (action, decision.rule)
            for action, decision in self.decisions.items()
            if not decision.allowed
        )
        return next(refusals, None)


def audit_context(scope: Scope) -> AuditContext:
    """Return the context of a request; without an audit log, an object that is not read."""
    context = scope.get(AUDIT_CONTEXT)
    return context if isinstance(context, AuditContext) else AuditContext()
