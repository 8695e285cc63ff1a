"""Writes images, tags and repositories in CNCF distribution's layout, without a server.

Seeding thousands of repositories over HTTP would take longer than measuring them. The benchmarks
have their own writer, independent of our storage, because both servers must be able to read the
tree.

```
<root>/docker/registry/v2/blobs/sha256/<2 hex>/<hex>/data
<root>/docker/registry/v2/repositories/<name>/
    _layers/sha256/<hex>/link
    _manifests/revisions/sha256/<hex>/link
    _manifests/tags/<tag>/current/link
    _manifests/tags/<tag>/index/sha256/<hex>/link
```
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The digest and the size of a blob, as manifests name it."""

    digest: str
    size: int


def describe(content: bytes) -> Descriptor:
    """Return the descriptor of some bytes."""
    return Descriptor(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


def image_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """Return the bytes of a Docker schema 2 manifest."""

    def entry(blob: Descriptor, media_type: str) -> dict[str, object]:
        return {"mediaType": media_type, "size": blob.size, "digest": blob.digest}

    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": entry(config, CONFIG_TYPE),
        "layers": [entry(layer, LAYER_TYPE) for layer in layers],
    }
    return json.dumps(document, indent=3).encode()


class Tree:
    """A registry's root folder."""

    def __init__(self, root: Path) -> None:
        self._v2 = root / "docker" / "registry" / "v2"

    def put_blob(self, content: bytes) -> Descriptor:
        """Store bytes as a blob of no repository yet."""
        blob = describe(content)
        self._data(blob).write_bytes(content)
        return blob

    def adopt_blob(self, file: Path, blob: Descriptor) -> None:
        """Store a file of the same filesystem as a blob, by a hard link."""
        os.link(file, self._data(blob))

    def link_layer(self, repository: str, blob: Descriptor) -> None:
        """Make a blob a member of a repository."""
        self._link(f"{repository}/_layers/{_folder(blob)}", blob)

    def link_manifest(self, repository: str, manifest: Descriptor) -> None:
        """Make a manifest a member of a repository."""
        self._link(f"{repository}/_manifests/revisions/{_folder(manifest)}", manifest)

    def link_tag(self, repository: str, tag: str, manifest: Descriptor) -> None:
        """Point a tag to a manifest."""
        folder = f"{repository}/_manifests/tags/{tag}"
        self._link(f"{folder}/index/{_folder(manifest)}", manifest)
        self._link(f"{folder}/current", manifest)

    def _data(self, blob: Descriptor) -> Path:
        digits = blob.digest.partition(":")[2]
        folder = self._v2 / "blobs" / "sha256" / digits[:2] / digits
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "data"

    def _link(self, folder: str, blob: Descriptor) -> None:
        path = f"{self._v2}/repositories/{folder}"
        os.makedirs(path, exist_ok=True)
        with open(f"{path}/link", "w") as file:
            file.write(blob.digest)


def _folder(blob: Descriptor) -> str:
    return blob.digest.replace(":", "/")
