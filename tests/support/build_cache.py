"""A build cache as BuildKit keeps it in a registry: an index whose children are blobs.

The documents and the requests are those of BuildKit 0.24 and of the containerd library in it
(`cache/remotecache`, `remotes/docker`), as Go's HTTP client writes them on the wire.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.support.documents import DOCKER_LAYER, OCI_LAYER
from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256

CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
LAYER_TYPES = {DOCKER_LIST: DOCKER_LAYER, OCI_INDEX: OCI_LAYER}

_AGENT = "User-Agent: buildkit/v0.24"
_RESOLVE = f"{DOCKER_MANIFEST}, {DOCKER_LIST}, {OCI_MANIFEST}, {OCI_INDEX}, */*"


@dataclass(frozen=True, slots=True)
class BuildCache:
    """The blobs of a cache, and the index (or Docker list) that names them."""

    media_type: str = OCI_INDEX
    layers: tuple[bytes, ...] = (b"layer one of a build" * 20, b"layer two of a build" * 30)
    records: int = 0

    @property
    def config(self) -> bytes:
        """Return the cache's configuration, which says what the layers are results of."""
        layers: list[dict[str, object]] = [
            {"blob": sha256(layer), **({"parent": -1} if at == 0 else {})}
            for at, layer in enumerate(self.layers)
        ]
        records = [{"digest": sha256(str(one).encode())} for one in range(self.records)]
        return json.dumps({"layers": layers, "records": records}, separators=(",", ":")).encode()

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """Return all that is uploaded as blobs."""
        return (*self.layers, self.config)

    @property
    def index(self) -> bytes:
        """Return the index."""
        layer_type = LAYER_TYPES[self.media_type]
        children = [_described(layer_type, layer, _annotations(layer)) for layer in self.layers]
        children.append(_described(CACHE_CONFIG, self.config))
        document = {"schemaVersion": 2, "mediaType": self.media_type, "manifests": children}
        return json.dumps(document, separators=(",", ":")).encode()


def _described(media_type: str, content: bytes, more: object = None) -> dict[str, object]:
    found: dict[str, object] = {"mediaType": media_type, "digest": sha256(content)}
    found["size"] = len(content)
    return found | ({} if more is None else {"annotations": more})


def _annotations(layer: bytes) -> dict[str, str]:
    return {
        "buildkit/createdat": "2024-01-01T00:00:00.123456789Z",
        "containerd.io/uncompressed": sha256(b"uncompressed " + layer),
    }


@dataclass(frozen=True, slots=True)
class BuildKitRequests:
    """The requests of one BuildKit for one cache reference, as bytes; the last line is empty.

    `host` is what the reference begins with, host and port.
    """

    host: str
    repository: str
    tag: str = "cache"
    agent: str = field(default=_AGENT)

    def check_blob(self, media_type: str, digest: str) -> bytes:
        """Check whether a blob exists."""
        return self._head("HEAD", f"blobs/{digest}", f"Accept: {media_type}, */*")

    def start_upload(self) -> bytes:
        """Begin an upload."""
        return self._head("POST", "blobs/uploads/", "Content-Length: 0", "Accept-Encoding: gzip")

    def finish_upload(self, location: str, content: bytes) -> bytes:
        """Send a blob in one request to a Location, whose query is parsed and written again."""
        parts = urlsplit(location)
        query = sorted([*parse_qsl(parts.query), ("digest", sha256(content))])
        return (
            self._request(
                "PUT",
                f"{parts.path}?{urlencode(query)}",
                f"Content-Length: {len(content)}",
                "Content-Type: application/octet-stream",
                "Accept-Encoding: gzip",
            )
            + content
        )

    def check_tag(self, media_type: str) -> bytes:
        """Check whether the tag already names the same index."""
        return self._head("HEAD", f"manifests/{self.tag}", f"Accept: {media_type}, */*")

    def put_index(self, media_type: str, content: bytes) -> bytes:
        """Push the index under the tag."""
        length = f"Content-Length: {len(content)}"
        head = (length, f"Content-Type: {media_type}", "Accept-Encoding: gzip")
        return self._head("PUT", f"manifests/{self.tag}", *head) + content

    def resolve(self) -> bytes:
        """Resolve the tag before an import."""
        return self._head("HEAD", f"manifests/{self.tag}", f"Accept: {_RESOLVE}")

    def fetch(self, kind: str, media_type: str, digest: str, offset: int = 0) -> bytes:
        """Get a manifest (`kind` is "manifests") or a blob ("blobs"), from an offset on."""
        ranges = (f"Range: bytes={offset}-",) if offset else ()
        accepted = "Accept-Encoding: zstd;q=1.0, gzip;q=0.8, deflate;q=0.5"
        return self._head(
            "GET", f"{kind}/{digest}", f"Accept: {media_type}, */*", accepted, *ranges
        )

    def _head(self, method: str, path: str, *headers: str) -> bytes:
        return self._request(method, f"/v2/{self.repository}/{path}", *headers)

    def _request(self, method: str, target: str, *headers: str) -> bytes:
        lines = (f"{method} {target} HTTP/1.1", f"Host: {self.host}", self.agent, *headers)
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()
