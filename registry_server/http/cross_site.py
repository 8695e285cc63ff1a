"""Refuses changes that a web page of another origin requests with its visitor's credentials.

A browser adds a stored password or a client certificate to a simple POST of any page, without a
preflight (Fetch, "CORS protocol"). The page cannot read the response, but a mount would have
published a blob. No browser adds a bearer token by itself, so a request with one is intended.

| a request that would change something   | is admitted                                           |
|-----------------------------------------|-------------------------------------------------------|
| neither `Origin` nor `Sec-Fetch-Site`   | always: no browser sent it                            |
| `Sec-Fetch-Site: same-origin` or `none` | always: the browser compared the URLs that it knows   |
| another `Sec-Fetch-Site`                | if the origin is configured                           |
| `Origin` alone                          | if the origin is configured, or is our own            |
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Iterable, Iterator
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http import origins, proxies
from registry_server.http.context import context_of
from registry_server.http.refusals import refuse

logger = logging.getLogger(__name__)

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_FOREIGN = (["same-origin"], ["none"])
_ANY = "*"
# Values that a configuration may name, and that stand for pages of many origins.
_SHARED = frozenset({_ANY, "null"})

# Types of a POST that a browser sends for a page only after a preflight. All others count as sent
# without one: those of forms (Fetch, "CORS-safelisted request-header"), and those of browser
# features, such as the `text/ping` of a link (HTML, "Hyperlink auditing").
_PREFLIGHTED_TYPES = frozenset({b"application/octet-stream", b"application/json"})

_KEY = "http.cors"
_REFUSED = (
    "a web page of another origin may not change anything; http.cors.origins can name its origin"
)
# Any client can send an origin, so the number of warnings is limited.
_MOST_WARNINGS = 16
_OF_WEB = re.compile(r"https?://[a-z0-9._:\[\]-]{1,260}", re.ASCII)
_WARNING = (
    "a request of a web page of %s would change something and was refused; if the page is yours, "
    'add to the configuration: http: {cors: {origins: ["%s"]}}'
)


class CrossSite:
    """Refuses changes that a page requests, unless its origin is allowed.

    Allowed are the origin that the request is sent to; the origin of `host`, the URL that clients
    use, unless it is empty; and the origins in `named`, except below the path `private`.
    """

    def __init__(self, app: ASGIApp, named: Iterable[str], host: str, private: str) -> None:
        self._app = app
        self._named = frozenset(map(origins.normalized, named))
        self._host = _origin_of(host) if host else ""
        self._private = private
        self._warned: set[str] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass a request on, or refuse it with 403."""
        if scope["type"] != "http" or scope["method"] in _READING or self._is_admitted(scope):
            return self._app(scope, receive, send)
        context_of(scope).limit = _KEY
        self._warn(scope)
        return refuse(scope, send, 403, "DENIED", _REFUSED)

    def _is_admitted(self, scope: Scope) -> bool:
        claimed, sites = origins.origins(scope), origins.sites(scope)
        if not claimed and not sites:
            return True
        if sites in _NOT_FOREIGN or _shows_token(scope):
            return True
        if len(claimed) != 1:
            return False
        return self._is_configured(scope, claimed[0]) or (not sites and _is_own(scope, claimed[0]))

    def _is_configured(self, scope: Scope, origin: str) -> bool:
        if origin == self._host:
            return True
        if scope["path"].startswith(self._private):
            return False
        if origin in self._named and origin not in _SHARED:
            return True
        # Every page can have such an origin, so a browser adds no credentials to requests with a
        # preflight. It does add them to requests without one.
        return not self._named.isdisjoint((_ANY, origin)) and not _is_simple(scope)

    def _warn(self, scope: Scope) -> None:
        """Log each origin once, if configuring it would help."""
        origin = next(iter(origins.origins(scope)), "")
        is_private = scope["path"].startswith(self._private)
        if is_private or _OF_WEB.fullmatch(origin) is None or origin in self._warned:
            return
        if len(self._warned) < _MOST_WARNINGS:
            self._warned.add(origin)
            logger.warning(_WARNING, origin, origin)


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    authority = parts.netloc.rpartition("@")[2]
    return origins.normalized(f"{parts.scheme}://{authority}")


def _shows_token(scope: Scope) -> bool:
    shown = [value for name, value in scope["headers"] if name == b"authorization"]
    return len(shown) == 1 and shown[0][:7].lower() == b"bearer "


def _is_simple(scope: Scope) -> bool:
    """Return whether a browser may send such a request without a preflight."""
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    essences = [value.partition(b";")[0].strip().lower() for value in types]
    is_preflighted = len(essences) == 1 and essences[0] in _PREFLIGHTED_TYPES
    return scope["method"] == "POST" and not is_preflighted


def _is_own(scope: Scope, origin: str) -> bool:
    """Return whether an origin is the one that the request was sent to.

    If a proxy may end TLS, the scheme is unknown, and both https and http are accepted. If TLS is
    certain, only https is: an attacker on the network can forge a page that comes by plain HTTP.
    """
    scheme, _, _ = origin.partition("://")
    if scheme not in (("https",) if _is_secure(scope) else ("https", "http")):
        return False
    return origin in {origins.normalized(f"{scheme}://{host}") for host in _hosts(scope)}


def _is_secure(scope: Scope) -> bool:
    return scope["scheme"] == "https" or _asked(scope).proto.lower() == "https"


def _hosts(scope: Scope) -> Iterator[str]:
    yield from filter(None, (proxies.host(scope), _asked(scope).host))


def _asked(scope: Scope) -> proxies.Hop:
    # The nearest proxy need not be trusted: a browser sends such headers for a page of another
    # origin only after the server has allowed it.
    return proxies.requested_origin(scope, ())
