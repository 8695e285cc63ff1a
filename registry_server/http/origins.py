"""The request headers in which a browser describes the page that sends a request.

A page can neither set nor remove them (Fetch, "forbidden request-header"). A browser sends `Origin`
with every request whose response a page of another origin may read, and with every POST. It sends
`Sec-Fetch-Site` with every request to an https URL or to this machine (W3C, "Fetch Metadata Request
Headers").
"""

from __future__ import annotations

from starlette.types import Scope

_ORIGIN = b"origin"
_SITE = b"sec-fetch-site"
_NO_PAGE = "none"  # the user typed the URL, or chose a bookmark
_USUAL_PORTS = {"http": ":80", "https": ":443"}


def is_from_page(scope: Scope) -> bool:
    """Return whether a web page sends the request, from any origin.

    `Sec-Fetch-Mode` is not checked, because the `fetch` of Node.js sends it as well.
    """
    return bool(origins(scope)) or any(site != _NO_PAGE for site in sites(scope))


def origins(scope: Scope) -> list[str]:
    """Return each `Origin`, normalized; a browser sends one at most."""
    return [normalized(value) for value in _values(scope, _ORIGIN)]


def sites(scope: Scope) -> list[str]:
    """Return each `Sec-Fetch-Site`; a browser sends one at most."""
    return _values(scope, _SITE)


def normalized(origin: str) -> str:
    """Return an origin as browsers write it: lowercase, without a default port (RFC 6454, 6.2)."""
    scheme, separator, authority = origin.lower().partition("://")
    return f"{scheme}{separator}{authority.removesuffix(_USUAL_PORTS.get(scheme, ' '))}"


def _values(scope: Scope, name: bytes) -> list[str]:
    # Some proxies clear a header by an empty value, which no browser sends.
    lines = scope["headers"]
    return [value.decode("latin-1") for key, value in lines if key == name and value]
