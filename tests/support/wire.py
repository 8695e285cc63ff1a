"""A raw HTTP client for registries, which adds nothing to the test's request."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.secrets import keep_shown

Body = bytes | Iterable[bytes] | None

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def sha256(content: bytes) -> str:
    """Return the digest text of `content`, as the registry names it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response: status, headers (names compare without case) and body bytes."""

    status: int
    headers: Message
    body: bytes

    def header(self, name: str) -> str:
        """Return a header that must be there."""
        value = self.headers[name]
        assert value is not None, f"no {name} in the answer: {self.status} {self.headers.items()}"
        return str(value)


class OnLoopback:
    """A server on a port of 127.0.0.1."""

    port: int

    @property
    def address(self) -> str:
        """Return host:port, as image references begin."""
        return f"127.0.0.1:{self.port}"

    @property
    def wire(self) -> Wire:
        """Return a raw HTTP client of this server."""
        return Wire("127.0.0.1", self.port)


@dataclass(frozen=True, slots=True)
class Wire:
    """Requests to one server; each opens its own connection and closes it."""

    host: str
    port: int
    timeout: float = 30.0
    tls: ssl.SSLContext | None = None
    unix: Path | None = None
    """A socket to connect to in place of host and port."""

    def request(
        self,
        method: str,
        target: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and read the whole answer; `target` may be a full URL."""
        keep_shown((headers or {}).items())
        with closing(self._connection()) as connection:
            connection.request(method, origin_form(target), body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def expect(
        self,
        status: int,
        method: str,
        target: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and fail unless it is answered with `status`."""
        answer = self.request(method, target, body, headers)
        assert answer.status == status, f"{method} {target}: {answer.status} {answer.body[:800]!r}"
        return answer

    def push_blob(self, name: str, content: bytes) -> str:
        """Upload with POST and one PUT; return the digest."""
        digest = sha256(content)
        begun = self.expect(202, "POST", f"/v2/{name}/blobs/uploads/")
        target = with_query(begun.header("Location"), f"digest={digest}")
        self.expect(201, "PUT", target, content, {"Content-Type": "application/octet-stream"})
        return digest

    def push_manifest(self, name: str, reference: str, content: bytes, media_type: str) -> str:
        """Put a manifest under a tag or digest; return the digest the server answered."""
        target = f"/v2/{name}/manifests/{reference}"
        answer = self.expect(201, "PUT", target, content, {"Content-Type": media_type})
        return answer.header("Docker-Content-Digest")

    def _connection(self) -> HTTPConnection:
        if self.tls is not None:
            return HTTPSConnection(self.host, self.port, timeout=self.timeout, context=self.tls)
        connection = HTTPConnection(self.host, self.port, timeout=self.timeout)
        if self.unix is not None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(self.timeout)
            connection.sock.connect(str(self.unix))
        return connection

    def mount(self, name: str, digest: str, source: str) -> None:
        """Make a blob of `source` a member of `name` without sending its bytes."""
        self.expect(201, "POST", f"/v2/{name}/blobs/uploads/?mount={digest}&from={source}")


def origin_form(target: str) -> str:
    """Return path and query of a relative or absolute URL."""
    parts = urlsplit(target)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def path_of(location: str) -> str:
    """Return the path of a `Location`, without the query that holds an upload's state."""
    return urlsplit(location).path


def with_query(location: str, query: str) -> str:
    """Add a query to a Location that may have one already."""
    return f"{location}{'&' if '?' in location else '?'}{query}"
