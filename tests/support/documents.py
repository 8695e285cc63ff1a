"""Manifests and indexes as bytes, in Docker's and in OCI's types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

_PARTS = {DOCKER_MANIFEST: (DOCKER_CONFIG, DOCKER_LAYER), OCI_MANIFEST: (OCI_CONFIG, OCI_LAYER)}
_CHILDREN = {DOCKER_LIST: DOCKER_MANIFEST, OCI_INDEX: OCI_MANIFEST}


def descriptor(media_type: str, content: bytes) -> dict[str, object]:
    """Return what a manifest says about a blob or a manifest."""
    return {"mediaType": media_type, "size": len(content), "digest": sha256(content)}


def config_for(layers: Sequence[bytes], architecture: str = "amd64") -> bytes:
    """Return an image configuration over these uncompressed layers."""
    document = {
        "architecture": architecture,
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": {"Labels": {"made.by": "tests"}, "Cmd": ["/none"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    return json.dumps(document).encode()


def image_manifest(
    config: bytes, layers: Sequence[bytes], media_type: str = OCI_MANIFEST, note: str = ""
) -> bytes:
    """Return an image manifest; `note` changes only its bytes."""
    config_type, layer_type = _PARTS[media_type]
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config_type, config),
        "layers": [descriptor(layer_type, layer) for layer in layers],
    }
    if note:
        document["annotations"] = {"note": note}
    return json.dumps(document, indent=3).encode()


def image_index(children: Mapping[str, bytes], media_type: str = OCI_INDEX) -> bytes:
    """Return an index (or manifest list) of manifests by their architecture."""
    entries = [
        descriptor(_CHILDREN[media_type], manifest)
        | {"platform": {"os": "linux", "architecture": architecture}}
        for architecture, manifest in children.items()
    ]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return json.dumps(document, indent=3).encode()
