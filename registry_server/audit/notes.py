"""The audit context of a request: facts that the layers below record for the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

from registry_server.access.interfaces import ADMINISTRATION, CATALOG, Action, Actor, Decision
from storage.values.names import RepositoryName

# The key in a request's scope. Copies of the scope share the object, so the outer wrapper sees it.
NOTES = "registry.notes"


@dataclass(slots=True)
class Notes:
    """The facts about one request.

    `who` is the caller's name. `robot` is the managed robot account, if the path does not name it.
    `logged_in` tells whether the token server accepted a password. `limit` is the limit that
    refused an otherwise allowed request. `source` is the repository that a blob was mounted from.
    """

    who: str = ""
    robot: str = ""
    logged_in: bool = False
    limit: str = ""
    source: str = ""
    decisions: dict[str, Decision] = field(default_factory=dict)

    def met(self, actor: Actor) -> None:
        """Record the authenticated caller."""
        self.who = actor.name

    def welcomed(self, actor: Actor) -> None:
        """Record a login at the token server."""
        self.who, self.logged_in = actor.name, True

    def limited(self, limit: str) -> None:
        """Record the limit that refused the request."""
        self.limit = limit

    def decided(self, action: Action, decision: Decision) -> None:
        """Record the decision about an action on a repository."""
        self.decisions[action.value] = decision

    def decided_catalog(self, decision: Decision) -> None:
        """Record the decision about listing repositories."""
        self.decisions[CATALOG] = decision

    def decided_administration(self, decision: Decision) -> None:
        """Record the decision about managing the registry."""
        self.decisions[ADMINISTRATION] = decision

    def mounted_from(self, source: RepositoryName) -> None:
        """Record the source of a mount, which the request need not name."""
        self.source = source.text

    def about(self, robot: str) -> None:
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


def notes_of(scope: Scope) -> Notes:
    """Return the notes of a request; without an audit log, an object that is not read."""
    notes = scope.get(NOTES)
    return notes if isinstance(notes, Notes) else Notes()
