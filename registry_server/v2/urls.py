"""The URLs a client is sent to.

`http.host` makes every `Location` absolute. Without it `http.relativeurls` decides, with the
meanings of CNCF distribution: `true` is relative, `false` is absolute, with the host that the
request names. When neither is set, a `Location` is absolute where its base is certain: many clients
cannot resolve a relative one, and a wrong base breaks a push. The `Link` of a listing is always
relative.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from registry_server import proxies
from registry_server.proxies import Hop, Network, TrustedProxy
from registry_server.proxy_warnings import ProxyWarnings
from registry_server.v2 import upload_state
from storage.digest import Digest
from storage.names import RepositoryName, UploadId

_SCHEMES = ("http", "https")

# Characters: a name of 253 and a port.
_LONGEST_HOST = 260

# What a client may have written as a host; anything else is not repeated in a header.
_AUTHORITY = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?", re.ASCII)


_EVERY_ADDRESS: tuple[Network, ...] = (
    ipaddress.ip_network("0.0.0.0/0"),
    ipaddress.ip_network("::/0"),
)


@dataclass(frozen=True, slots=True)
class Urls:
    """Builds URLs: `host` is the base of absolute ones, `prefix` what `/v2/` is mounted under.

    `relative` is `http.relativeurls`, None when that is not set.
    """

    host: str = ""
    prefix: str = ""
    relative: bool | None = None
    trusted: tuple[TrustedProxy, ...] = ()
    warnings: ProxyWarnings = field(default_factory=ProxyWarnings, compare=False)

    def blob(self, request: Request, name: RepositoryName, digest: Digest) -> str:
        """Return where a blob can be pulled."""
        return f"{self._base(request)}/v2/{name}/blobs/{digest}"

    def manifest(self, request: Request, name: RepositoryName, digest: Digest) -> str:
        """Return where a manifest can be pulled."""
        return f"{self._base(request)}/v2/{name}/manifests/{digest}"

    def upload(self, request: Request, name: RepositoryName, id: UploadId, held: int) -> str:
        """Return where an upload that holds `held` bytes continues.

        It always has a query: scripts append `&digest=`.
        """
        state = upload_state.query(held)
        return f"{self._base(request)}/v2/{name}/blobs/uploads/{id}?{state}"

    def at(self, request: Request, path: str) -> str:
        """Return where a path of this server is, for a `Location`."""
        return f"{self._base(request)}{path}"

    def absolute(self, connection: HTTPConnection, path: str) -> str:
        """Return the absolute URL of `path` as the client reaches it.

        Only a trusted proxy is believed, because the client sends its password to this URL. For
        another proxy the log has a warning.
        """
        if self.host:
            return f"{self.host}{self.prefix}{path}"
        scope = connection.scope
        if proxies.has_trusted_peer(scope, self.trusted):
            origin = _origin(scope, proxies.asked(scope, self.trusted))
        else:
            origin = _origin(scope)
            self.warnings.notice(scope, self.trusted, origin)
        return f"{origin}{self.prefix}{path}"

    def secure(self, connection: HTTPConnection, path: str) -> str:
        """Return the https URL of `path`, without the prefix, at the host the client asked for.

        A trusted proxy may give another scheme and host. The host of `http.host`, where it is
        set, is the only one: the client sends its password to this URL.
        """
        scope = connection.scope
        is_trusted = proxies.has_trusted_peer(scope, self.trusted)
        claimed = proxies.asked(scope, self.trusted) if is_trusted else _NO_CLAIMS
        claimed = replace(claimed, proto=claimed.proto or "https")
        if self.host:
            claimed = replace(claimed, host=urlsplit(self.host).netloc.rpartition("@")[2])
        return f"{_origin(scope, claimed)}{path}"

    def next_page(self, path: str, **query: str) -> str:
        """Render the Link header of a listing that has another page."""
        parameters = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
        return f'<{self.prefix}{path}?{parameters}>; rel="next"'

    def _base(self, request: Request) -> str:
        # As in CNCF distribution, a host wins over relativeurls.
        return f"{self.host or self._location_origin(request.scope)}{self.prefix}"

    def _location_origin(self, scope: Scope) -> str:
        """Return the scheme and host of a `Location`; empty for a relative one."""
        if self.relative is not None:
            # Distribution believes every proxy. A client that forges this misleads itself alone.
            return "" if self.relative else _origin(scope, proxies.asked(scope, _EVERY_ADDRESS))
        if not proxies.has_signs(scope):
            return _origin(scope)
        if not proxies.has_trusted_peer(scope, self.trusted):
            return ""
        claimed = proxies.asked(scope, self.trusted)
        return _origin(scope, claimed) if claimed.proto.lower() in _SCHEMES else ""


_NO_CLAIMS = Hop()


def _origin(scope: Scope, claimed: Hop = _NO_CLAIMS) -> str:
    """Return scheme and host of a request; what a proxy `claimed` comes first.

    Empty when the host is missing or malformed.
    """
    proto = claimed.proto.lower()
    # Some proxies write "wss", or a list with an empty place.
    scheme = proto if proto in _SCHEMES else scope["scheme"]
    host = claimed.host or proxies.host(scope)
    fits = len(host) <= _LONGEST_HOST and _AUTHORITY.fullmatch(host)
    return f"{scheme}://{host}" if fits else ""
