"""What is learnt about a request on its way in, for whoever writes it down on the way out."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

from registry_server.auth.access import ADMINISTRATION, CATALOG, Action, Actor, Decision
from storage.names import RepositoryName

# Where a request's scope holds it. Copies of a scope share it, so it is found again outside.
NOTES = "registry.notes"


@dataclass(slots=True)
class Notes:
    """What is learnt about one request; those who learn it write it here.

    `robot` is the one that is managed, where the path does not say; `logged_in` is whether a
    password was shown where tokens are given, and held; `limit` is the limit that was in the way
    of what else was allowed; `source` is the repository from which a blob was mounted.
    """

    who: str = ""
    robot: str = ""
    logged_in: bool = False
    limit: str = ""
    source: str = ""
    decisions: dict[str, Decision] = field(default_factory=dict)

    def met(self, actor: Actor) -> None:
        """Note who asks."""
        self.who = actor.name

    def welcomed(self, actor: Actor) -> None:
        """Note who showed a password for a token."""
        self.who, self.logged_in = actor.name, True

    def limited(self, limit: str) -> None:
        """Note that a limit was in the way."""
        self.limit = limit

    def decided(self, action: Action, decision: Decision) -> None:
        """Note whether an action that is asked for is allowed."""
        self.decisions[action.value] = decision

    def decided_catalog(self, decision: Decision) -> None:
        """Note whether listing repositories is allowed."""
        self.decisions[CATALOG] = decision

    def decided_administration(self, decision: Decision) -> None:
        """Note whether managing the registry is allowed."""
        self.decisions[ADMINISTRATION] = decision

    def mounted_from(self, source: RepositoryName) -> None:
        """Note the repository that a blob was mounted from, which the request need not name."""
        self.source = source.text

    def about(self, robot: str) -> None:
        """Note which robot is managed."""
        self.robot = robot

    def rule(self, action: str) -> str:
        """Return by which rule an action was decided; nothing if none was asked."""
        decision = self.decisions.get(action)
        return decision.rule if decision is not None else ""

    def first_refusal(self) -> tuple[str, str] | None:
        """Return the first action that is not allowed, and by which rule."""
        refusals = ((word, each.rule) for word, each in self.decisions.items() if not each.allowed)
        return next(refusals, None)


def notes_of(scope: Scope) -> Notes:
    """Return where to write what is learnt; nobody reads it where no audit log is kept."""
    found = scope.get(NOTES)
    return found if isinstance(found, Notes) else Notes()
