"""The context of a request: facts that are found while it is handled, for the logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from starlette.types import Scope

# The scope key of the context. Copies of a scope share it, so outer wrappers see what inner ones
# record.
CONTEXT = "registry.context"

# What the caller's credentials were, and whether they were accepted. "none": no credentials were
# checked. "failed": they are wrong or malformed. "expired": a token is too old. "throttled": too
# many wrong passwords came from the address, so the password was not checked. All others were
# accepted: the password of a user, the key of a robot account, a token, a client certificate.
Authentication: TypeAlias = Literal[
    "none", "failed", "expired", "throttled", "user", "robot", "token", "certificate"
]


# The codes of refusals that access rules decide.
_BY_RULES = ("UNAUTHORIZED", "DENIED")


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

    `id` is the request id. `actor` is the name of the user or robot account, "" for an anonymous
    caller. `logged_in` is whether the token server accepted credentials. `limit` is the limit that
    refused the request. `source` is the repository that a blob was mounted from, and `robot` the
    robot account that is managed, if the path does not name it. `decisions` has the access decision
    on each action. `code` and `message` are those of the error that the response reports.
    """

    id: str = ""
    actor: str = ""
    authentication: Authentication = "none"
    logged_in: bool = False
    limit: str = ""
    source: str = ""
    robot: str = ""
    decisions: dict[str, Decision] = field(default_factory=dict)
    code: str = ""
    message: str = ""

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

    @property
    def reason(self) -> str:
        """Why the request was refused, for operators: a limit, an access rule, or the message."""
        if self.limit:
            return self.limit
        refusal = self.first_refusal() if self.code in _BY_RULES else None
        return refusal[1] if refusal is not None else self.message


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request; the first call makes it."""
    context = scope.get(CONTEXT)
    if context is None:
        context = scope[CONTEXT] = RequestContext()
    assert isinstance(context, RequestContext)
    return context
