"""The context of a request: facts that are found while it is handled, for the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Scope

# The scope key of the context. Copies of a scope share it, so outer wrappers see what inner ones
# record.
CONTEXT = "registry.context"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an action is allowed, and the access rule that decided it.

    `rule` is a text for operators and is never sent to clients.
    """

    allowed: bool
    rule: str


@dataclass(slots=True)
class RequestContext:
    """The facts about one request.

    `actor` is the name of the user or robot account, "" for an anonymous caller. `logged_in` is
    whether the token server accepted credentials. `limit` is the limit that refused the request.
    `source` is the repository that a blob was mounted from, and `robot` the robot account that is
    managed, if the path does not name it. `decisions` has the access decision on each action.
    """

    actor: str = ""
    logged_in: bool = False
    limit: str = ""
    source: str = ""
    robot: str = ""
    decisions: dict[str, Decision] = field(default_factory=dict)

    def rule(self, action: str) -> str:
        """Return the rule that decided an action, or "" if none did."""
        decision = self.decisions.get(action)
        return decision.rule if decision is not None else ""

    def first_refusal(self) -> tuple[str, str] | None:
        """Return the first action that was refused, and the rule."""
        refusals = (
            (action, decision.rule)
            for action, decision in self.decisions.items()
            if not decision.allowed
        )
        return next(refusals, None)


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request; an unused one if no wrapper reads it."""
    context = scope.get(CONTEXT)
    return context if isinstance(context, RequestContext) else RequestContext()
