"""The URLs in responses.

With `http.host` every `Location` is absolute. Without it `http.relativeurls` decides, as in CNCF
distribution: `true` means relative, `false` means absolute with the host of the request. If neither
is set, a `Location` is absolute if its base is certain, and otherwise relative: many clients cannot
resolve a relative one, and a wrong base breaks a push. The `Link` of a listing is always relative.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from registry_server.http import proxies
from registry_server.http.proxies import Hop, Network, TrustedProxy
from registry_server.http.proxy_warnings import ProxyWarnings
from registry_server.v2 import upload_state
from storage.values.digest import Digest
from storage.values.names import RepositoryName, UploadId

_SCHEMES = ("http", "https")

# Characters: a name of 253 and a port.
_LONGEST_HOST = 260

# A valid host of a request; another one is not repeated in a header.
_AUTHORITY = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?", re.ASCII)


_EVERY_ADDRESS: tuple[Network, ...] = (
    ipaddress.ip_network("0.0.0.0/0"),
    ipaddress.ip_network("::/0"),
)


@dataclass(frozen=True, slots=True)
class Urls:
    """Builds URLs from the settings of `http`.

    `host` is the base of absolute URLs, `prefix` the path under which `/v2/` is mounted, and
    `relative` is `http.relativeurls`, or None if that is not set.
    """

    host: str = ""
    prefix: str = ""
    relative: bool | None = None
    trusted: tuple[TrustedProxy, ...] = ()
    warnings: ProxyWarnings = field(default_factory=ProxyWarnings, compare=False)

    def blob(self, request: Request, name: RepositoryName, digest: Digest) -> str:
        """Return the URL of a blob."""
        return f"{self._base(request)}/v2/{name}/blobs/{digest}"

    def manifest(self, request: Request, name: RepositoryName, digest: Digest) -> str:
        """Return the URL of a manifest."""
        return f"{self._base(request)}/v2/{name}/manifests/{digest}"

    def upload(self, request: Request, name: RepositoryName, id: UploadId, size: int) -> str:
        """Return the URL of an upload session with `size` bytes.

        It always has a query, because scripts append `&digest=`.
        """
        state = upload_state.query(size)
        return f"{self._base(request)}/v2/{name}/blobs/uploads/{id}?{state}"

    def at(self, request: Request, path: str) -> str:
        """Return the `Location` of a path of this server."""
        return f"{self._base(request)}{path}"

    def absolute(self, connection: HTTPConnection, path: str) -> str:
        """Return the absolute URL of `path` as the client reaches it.

        Only the headers of a trusted proxy are used, because the client sends its password to this
        URL. Those of another proxy are logged as a warning.
        """
        if self.host:
            return f"{self.host}{self.prefix}{path}"
        scope = connection.scope
        if proxies.has_trusted_peer(scope, self.trusted):
            origin = _origin(scope, proxies.requested_origin(scope, self.trusted))
        else:
            origin = _origin(scope)
            self.warnings.notice(scope, self.trusted, origin)
        return f"{origin}{self.prefix}{path}"

    def secure(self, connection: HTTPConnection, path: str) -> str:
        """Return the https URL of `path`, without the prefix, at the host of the request.

        A trusted proxy may set another scheme and host. If `http.host` is set, its host is always
        used, because the client sends its password to this URL.
        """
        scope = connection.scope
        is_trusted = proxies.has_trusted_peer(scope, self.trusted)
        claimed = proxies.requested_origin(scope, self.trusted) if is_trusted else _NO_CLAIMS
        claimed = replace(claimed, proto=claimed.proto or "https")
        if self.host:
            claimed = replace(claimed, host=urlsplit(self.host).netloc.rpartition("@")[2])
        return f"{_origin(scope, claimed)}{path}"

    def next_page(self, path: str, **query: str) -> str:
        """Return the Link header for the next page of a listing."""
        parameters = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
        return f'<{self.prefix}{path}?{parameters}>; rel="next"'

    def _base(self, request: Request) -> str:
        # As in CNCF distribution, `host` wins over `relativeurls`.
        return f"{self.host or self._location_origin(request.scope)}{self.prefix}"

    def _location_origin(self, scope: Scope) -> str:
        """Return the scheme and host of a `Location`, or "" for a relative one."""
        if self.relative is not None:
            # Distribution trusts every proxy. A client that forges this misleads only itself.
            return (
                ""
                if self.relative
                else _origin(scope, proxies.requested_origin(scope, _EVERY_ADDRESS))
            )
        if not proxies.seems_proxied(scope):
            return _origin(scope)
        if not proxies.has_trusted_peer(scope, self.trusted):
            return ""
        claimed = proxies.requested_origin(scope, self.trusted)
        return _origin(scope, claimed) if claimed.proto.lower() in _SCHEMES else ""


_NO_CLAIMS = Hop()


def _origin(scope: Scope, claimed: Hop = _NO_CLAIMS) -> str:
    """Return the scheme and host of a request, preferably those that a proxy `claimed`.

    The result is empty if the host is missing or malformed.
    """
    proto = claimed.proto.lower()
    # Some proxies send "wss", or a list with an empty item.
    scheme = proto if proto in _SCHEMES else scope["scheme"]
    host = claimed.host or proxies.host(scope)
    fits = len(host) <= _LONGEST_HOST and _AUTHORITY.fullmatch(host)
    return f"{scheme}://{host}" if fits else ""
