"""Refuses requests with a `Host` header that names another host than this registry.

The owner of a domain can make its name resolve to the address of this machine (DNS rebinding). To a
browser the registry then belongs to that domain, so pages of the domain may send and read
everything. The `Host` of their requests is the name of the domain, and no page can change that.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http import proxies
from registry_server.http.refusals import refuse

LOCALHOST = "localhost"

_PORT = re.compile(r":[0-9]*\Z")
# Short forms such as 127.1 as well: no domain has a name whose last part is a number.
_IPV4_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,10}){1,3}", re.ASCII)
_MOST_REMEMBERED = 256
# Characters: the longest name (RFC 1035, 2.3.4, in text) with a port. Longer ones are not cached.
_LONGEST_HOST = 260
_REFUSED = (
    "this registry does not serve that host: it was started without a configuration, or "
    "http.allowedhosts does not name the host"
)


class AllowedHosts:
    """Answers 421 to requests for other hosts than `names` (RFC 9110, 15.5.20).

    `localhost` also allows the names below it and the loopback addresses. Ports are ignored. A
    request without a host, which HTTP/1.0 allows, passes: no browser sends one.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(names)
        self._is_allowed = lru_cache(maxsize=_MOST_REMEMBERED)(self._decide)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            host = proxies.host(scope)
            if len(host) > _LONGEST_HOST or not self._is_allowed(host):
                return refuse(scope, send, 421, "DENIED", _REFUSED)
        return self._app(scope, receive, send)

    def _decide(self, host: str) -> bool:
        name = _PORT.sub("", host).lower().removesuffix(".")
        return not host or name in self._names or (LOCALHOST in self._names and _is_local(name))


def _is_local(name: str) -> bool:
    """Return whether a host always means this machine (RFC 6761, 6.3)."""
    if name.startswith("[") and name.endswith("]"):
        address = proxies.parsed(name[1:-1])
        return address is not None and address.is_loopback
    return name.endswith(f".{LOCALHOST}") or _IPV4_LOOPBACK.fullmatch(name) is not None
