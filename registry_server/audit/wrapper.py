"""The wrapper that writes the lines: an answer tells whether there is one to write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_server.audit import targets
from registry_server.audit.notes import NOTES, Notes
from registry_server.audit.sinks import Entry, Sink
from registry_server.audit.targets import Target, digest_or_nothing, query_of, target_of
from registry_server.auth.access import ADMINISTRATION

_LONGEST = 256  # characters of a text that follows no grammar

# A chunk of an upload is none: that the blob is there tells of all of them.
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

# The word that the rules have for it.
_RULED_AS = {
    "cancel": "push",
    "mount": "push",
    "create robot": ADMINISTRATION,
    "revoke robot": ADMINISTRATION,
}
_SWITCHED_OFF = "switched off by the configuration"
_TOO_MANY = "too many requests"


class Audit:
    """Writes a line to `sink` for each answer that tells of a change or of a refusal.

    `address` tells where a request came from, and `login` is the path where tokens are given. It
    reads paths without a prefix, so it stands behind what strips that.
    """

    def __init__(
        self, app: ASGIApp, sink: Sink, address: Callable[[Scope], str], *, login: str
    ) -> None:
        self._app = app
        self._sink = sink
        self._address = address
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its line is written when its answer begins, for then it was done."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes = scope[NOTES] = Notes()

        def send_noticed(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                self._notice(scope, notes, message)
            return send(message)

        await self._app(scope, receive, send_noticed)

    def _notice(self, scope: Scope, notes: Notes, answer: Message) -> None:
        status, method = answer["status"], scope["method"]
        if status < 400 and method in ("GET", "HEAD") and not notes.logged_in:
            return
        target = target_of(scope["path"], self._login)
        changed = _is_change(method, target, status, notes)
        if changed or _is_refusal(scope, target, status):
            self._sink.put(self._entry(scope, notes, target, answer, changed=changed))

    def _entry(
        self, scope: Scope, notes: Notes, target: Target, answer: Message, *, changed: bool
    ) -> Entry:
        query = query_of(target, scope["query_string"])
        word = target.action(scope["method"])
        if changed and query.mounted:
            word = "mount"
        action, rule = _verdict(word, notes, answer["status"])
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "who": _bounded(notes.who),
            "from": _bounded(self._address(scope)),
            "action": action,
            "repository": target.repository,
            "reference": target.reference or query.digest,
            "tags": list(query.tags),
            "source": notes.source or query.source,
            "robot": target.robot or notes.robot,
            "digest": _digest(answer),
            "rule": _bounded(rule),
            "outcome": "allowed" if changed else "refused",
            "status": answer["status"],
        }


def _is_change(method: str, target: Target, status: int, notes: Notes) -> bool:
    if target.kind == targets.TOKENS:
        return notes.logged_in and status == 200
    return (target.kind, method, status) in _CHANGES


def _is_refusal(scope: Scope, target: Target, status: int) -> bool:
    """Tell whether somebody was kept from something; to be asked who one is, is not that."""
    if status == 401:
        # Where tokens are given, a form shows credentials as well, and nobody is asked for some.
        shown = any(name == b"authorization" for name, _ in scope["headers"])
        return shown or target.kind == targets.TOKENS
    if status == 405:
        return target.is_written_by(scope["method"])
    return status in (403, 429)


def _verdict(action: str, notes: Notes, status: int) -> tuple[str, str]:
    """Return the action that was decided about, and by which rule."""
    if notes.limit:
        return action, notes.limit
    if status in (405, 429):
        return action, _SWITCHED_OFF if status == 405 else _TOO_MANY
    if status in (401, 403):
        word, rule = notes.first_refusal() or (action, "")
        # What was to be managed says more than that it is managing.
        return (action if word == ADMINISTRATION else word), rule
    return action, notes.rule(_RULED_AS.get(action, action))


def _digest(answer: Message) -> str:
    values = (value for name, value in answer["headers"] if name == b"docker-content-digest")
    return digest_or_nothing(next(values, b"").decode("latin-1"))


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
