"""What a browser says about the web page that sends a request: `Origin` and `Sec-Fetch-Site`.

A page can neither set nor remove these headers (Fetch, "forbidden request-header"). A browser sends
`Origin` with every request whose answer a page of another origin may read, and `Sec-Fetch-Site`
with every request to an https URL or to this machine (W3C, "Fetch Metadata Request Headers").
"""

from __future__ import annotations

from starlette.types import Scope

_ORIGIN = b"origin"
_SITE = b"sec-fetch-site"
_NO_PAGE = b"none"  # the user typed the URL, or chose a bookmark


def is_from_page(scope: Scope) -> bool:
    """Tell whether a web page sends the request, from any origin.

    `Sec-Fetch-Mode` is not asked: the `fetch` of Node.js sends it as well.
    """
    return any(
        name == _ORIGIN or (name == _SITE and value != _NO_PAGE) for name, value in scope["headers"]
    )
