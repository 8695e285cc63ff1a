"""Gives every request an id, which its response, its log lines and its audit line have.

A trusted proxy may have given the request an id already; then the logs of both agree.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from random import getrandbits
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http import proxies
from registry_server.http.context import context_of
from registry_server.http.extensions import SET_REQUEST_ID
from registry_server.http.proxies import TrustedProxy

_FIELD: Final = b"x-request-id"
# UUIDs, hexadecimal digits, base64 and the ids of tracing systems. None of these characters ends a
# field of a log line or a header.
_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_BITS = 128


class RequestIds:
    """Makes the context of each request, with the id that a proxy of `trusted` gave, or a new one.

    The id of any other peer is ignored: clients could otherwise imitate the lines of others.
    """

    def __init__(self, app: ASGIApp, trusted: tuple[TrustedProxy, ...] = ()) -> None:
        self._app = app
        self._trusted = trusted

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            # 32 digits, the form of nginx's ids. Ids are no secrets: the generator is seeded anew
            # in each worker, and takes half the time of `os.urandom`.
            given = self._given(scope) if self._trusted else ""
            id = given or f"{getrandbits(_BITS):032x}"
            context_of(scope).id = id
            set_request_id = scope.get(SET_REQUEST_ID)
            if set_request_id is not None:
                set_request_id(id)
        return self._app(scope, receive, send)

    def _given(self, scope: Scope) -> str:
        """Return the id that a trusted proxy gave, or "" if there is none that can be used."""
        values = [value for name, value in scope["headers"] if name == _FIELD]
        if len(values) != 1 or not proxies.has_trusted_peer(scope, self._trusted):
            return ""
        return values[0].decode("ascii") if _ID.fullmatch(values[0]) else ""
