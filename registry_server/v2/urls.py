"""The URLs a client is sent to.

Relative by default, so that a proxy which terminates TLS or listens elsewhere cannot turn a push
into one to the wrong place. `http.host` makes every `Location` absolute; `http.relativeurls: false`
takes its host from the request, as CNCF distribution does. The `Link` of a listing is always
relative.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import HTTPConnection, Request

from registry_server import proxies
from registry_server.proxies import Network
from storage.digest import Digest
from storage.names import RepositoryName, UploadId

_SCHEMES = ("http", "https")

# Characters: a name of 253 and a port.
_LONGEST_HOST = 260

# What a client may have written as a host; anything else has no business in a header of ours.
_AUTHORITY = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Urls:
    """Builds URLs: `host` is the base of absolute ones, `prefix` what `/v2/` is mounted under.

    Those that may be either are absolute with a `host`, unless all are to be `relative`, and
    without one where the host is taken `from_request`.
    """

    host: str = ""
    prefix: str = ""
    relative: bool = False
    from_request: bool = False
    trusted: tuple[Network, ...] = ()

    def blob(self, request: Request, name: RepositoryName, digest: Digest) -> str:
        """Return where a blob can be pulled."""
        return f"{self._base(request)}/v2/{name}/blobs/{digest}"

    def manifest(self, request: Request, name: RepositoryName, digest: Digest) -> str:
        """Return where a manifest can be pulled."""
        return f"{self._base(request)}/v2/{name}/manifests/{digest}"

    def upload(self, request: Request, name: RepositoryName, id: UploadId) -> str:
        """Return where an upload goes on."""
        return f"{self._base(request)}/v2/{name}/blobs/uploads/{id}"

    def at(self, request: Request, path: str) -> str:
        """Return where a path of ours is, for a `Location`."""
        return f"{self._base(request)}{path}"

    def absolute(self, connection: HTTPConnection, path: str) -> str:
        """Return the absolute URL of `path` as the client reaches it."""
        base = self.host or self._asked(connection)
        return f"{base}{self.prefix}{path}"

    def next_page(self, path: str, **query: str) -> str:
        """Render the Link header of a listing that goes on."""
        parameters = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
        return f'<{self.prefix}{path}?{parameters}>; rel="next"'

    def _base(self, request: Request) -> str:
        if self.host and not self.relative:
            return f"{self.host}{self.prefix}"
        return f"{self._asked(request)}{self.prefix}" if self.from_request else self.prefix

    def _asked(self, request: HTTPConnection) -> str:
        """Return scheme and host as the client wrote them, or nothing when it did not."""
        scheme = str(request.scope["scheme"])
        host = request.headers.get("host", "")
        if proxies.is_trusted(proxies.peer(request.scope), self.trusted):
            said = proxies.asked(request.scope, self.trusted)
            proto = said.proto.lower()
            # Some proxies write "wss", or a list with an empty place.
            scheme = proto if proto in _SCHEMES else scheme
            host = said.host or host
        fits = len(host) <= _LONGEST_HOST and _AUTHORITY.fullmatch(host)
        return f"{scheme}://{host}" if fits else ""
