"""The wrapper that writes the lines of the audit log, depending on the response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_server.access.interfaces import ADMINISTRATION
from registry_server.audit import targets
from registry_server.audit.sinks import Entry, Sink
from registry_server.audit.targets import Target, digest_or_empty, query_of, target_of
from registry_server.http.context import RequestContext, context_of
from registry_server.logs import cut

_LONGEST = 256  # characters of free text

# Chunks of an upload are not logged; the line of the finished blob stands for them.
_CHANGES = frozenset(
    {
        (targets.MANIFESTS, "PUT", 201),
        (targets.MANIFESTS, "DELETE", 202),
        (targets.BLOBS, "DELETE", 202),
        (targets.UPLOADS, "POST", 201),
        (targets.UPLOADS, "PUT", 201),
        (targets.UPLOADS, "DELETE", 204),
        (targets.ROBOTS, "POST", 201),
        (targets.ROBOT, "DELETE", 204),
    }
)

# The access rules' word for an action.
_RULED_AS = {
    "cancel": "push",
    "mount": "push",
    "create robot": ADMINISTRATION,
    "revoke robot": ADMINISTRATION,
}
_SWITCHED_OFF = "switched off by the configuration"
_TOO_MANY = "too many requests"


class Audit:
    """Writes a line to `sink` for each response that reports a change or a refusal.

    `address` returns the client address of a request, `login` is the token server's path, and
    `robots` that of the robot accounts. The wrapper reads paths without `http.prefix`, so it must
    run after the prefix is stripped.
    """

    def __init__(
        self, app: ASGIApp, sink: Sink, address: Callable[[Scope], str], *, login: str, robots: str
    ) -> None:
        self._app = app
        self._sink = sink
        self._address = address
        self._login = login
        self._robots = robots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write its line when the response starts: then the work is done."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = context_of(scope)

        def send_audited(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                self._audit(scope, context, message)
            return send(message)

        await self._app(scope, receive, send_audited)

    def _audit(self, scope: Scope, context: RequestContext, answer: Message) -> None:
        status, method = answer["status"], scope["method"]
        if status < 400 and method in ("GET", "HEAD") and not context.logged_in:
            return
        target = target_of(scope["path"], self._login, self._robots)
        changed = _is_change(method, target, status, context)
        if changed or _is_refusal(scope, target, status):
            self._sink.put(self._entry(scope, context, target, answer, changed=changed))

    def _entry(
        self,
        scope: Scope,
        context: RequestContext,
        target: Target,
        answer: Message,
        *,
        changed: bool,
    ) -> Entry:
        query = query_of(target, scope["query_string"])
        word = target.action(scope["method"])
        if changed and query.mounted:
            word = "mount"
        action, rule = _verdict(word, context, answer["status"])
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "who": cut(context.actor, _LONGEST),
            "from": cut(self._address(scope), _LONGEST),
            "action": action,
            "repository": target.repository,
            "reference": target.reference or query.digest,
            "tags": list(query.tags),
            "source": context.source or query.source,
            "robot": target.robot or context.robot,
            "digest": _digest(answer),
            "rule": cut(rule, _LONGEST),
            "outcome": "allowed" if changed else "refused",
            "status": answer["status"],
            "auth": context.authentication,
            "request": context.id,
        }


def _is_change(method: str, target: Target, status: int, context: RequestContext) -> bool:
    if target.kind == targets.TOKENS:
        return context.logged_in and status == 200
    return (target.kind, method, status) in _CHANGES


def _is_refusal(scope: Scope, target: Target, status: int) -> bool:
    """Return whether a response refuses access; a challenge without credentials does not."""
    if status == 401:
        # The token server also takes credentials from a form, and sends no plain challenges.
        has_credentials = any(name == b"authorization" for name, _ in scope["headers"])
        return has_credentials or target.kind == targets.TOKENS
    if status == 405:
        return target.is_written_by(scope["method"])
    return status in (403, 429)


def _verdict(action: str, context: RequestContext, status: int) -> tuple[str, str]:
    """Return the action that was decided, and the rule that decided it."""
    if context.limit:
        return action, context.limit
    if status in (405, 429):
        return action, _SWITCHED_OFF if status == 405 else _TOO_MANY
    if status in (401, 403):
        word, rule = context.first_refusal() or (action, "")
        # "create robot" is more specific than "administration".
        return (action if word == ADMINISTRATION else word), rule
    return action, context.rule(_RULED_AS.get(action, action))


def _digest(answer: Message) -> str:
    values = (value for name, value in answer["headers"] if name == b"docker-content-digest")
    return digest_or_empty(next(values, b"").decode("latin-1"))
