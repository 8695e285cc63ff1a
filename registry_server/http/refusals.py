"""Refusals: exceptions that carry their own response, and `refuse`, for wrappers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

from starlette.types import Scope, Send

from registry_server.http import envelope
from registry_server.http.context import context_of
from registry_server.http.envelope import Entry


class Refusal(Exception):
    """The request is refused; `errors.render` sends the status, the headers and the entries."""

    status: ClassVar[int]
    code: ClassVar[str]
    headers: Mapping[str, str] = MappingProxyType({})

    def entries(self) -> list[Entry]:
        """Return the errors of the envelope."""
        return [envelope.entry(self.code, str(self))]


def record(scope: Scope, code: str, message: str) -> None:
    """Record the error of a response in the context of its request, for the logs."""
    context = context_of(scope)
    context.code, context.message = code, message


async def refuse(
    scope: Scope,
    send: Send,
    status: int,
    code: str,
    message: str,
    more: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send a response with one error in the envelope, and `more` headers."""
    record(scope, code, message)
    body = envelope.body([envelope.entry(code, message)])
    headers = [
        envelope.API_VERSION,
        (b"content-type", envelope.MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
