"""Manifests as the world pushes them: one of each kind, as plain documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from storage.values.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

Document: TypeAlias = dict[str, Any]

EMPTY_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def _described(media_type: str, hex: str, size: int = 7, **more: object) -> Document:
    return {"mediaType": media_type, "digest": f"sha256:{hex * 64}", "size": size, **more}


DOCKER_IMAGE: Document = {
    "schemaVersion": 2,
    "mediaType": DOCKER_MANIFEST,
    "config": _described("application/vnd.docker.container.image.v1+json", "a", 1512),
    "layers": [
        _described("application/vnd.docker.image.rootfs.diff.tar.gzip", "b", 2813316),
        _described("application/vnd.docker.image.rootfs.diff.tar.gzip", "c", 32),
    ],
}
WINDOWS_IMAGE: Document = {
    "schemaVersion": 2,
    "mediaType": DOCKER_MANIFEST,
    "config": _described("application/vnd.docker.container.image.v1+json", "a", 1000),
    "layers": [
        _described(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "b",
            1718332879,
            urls=["https://mcr.example.com/v2/windows/servercore/blobs/sha256:b"],
        ),
        _described("application/vnd.docker.image.rootfs.diff.tar.gzip", "c", 1200),
    ],
}
DOCKER_INDEX: Document = {
    "schemaVersion": 2,
    "mediaType": DOCKER_LIST,
    "manifests": [
        _described(DOCKER_MANIFEST, "a", platform={"architecture": "amd64", "os": "linux"}),
        _described(
            DOCKER_MANIFEST,
            "b",
            platform={"architecture": "arm", "os": "linux", "variant": "v7", "features": ["sse4"]},
        ),
        _described(
            DOCKER_MANIFEST,
            "c",
            platform={"architecture": "amd64", "os": "windows", "os.version": "10.0.17763.5329"},
        ),
    ],
}
PLUGIN: Document = {
    "schemaVersion": 2,
    "mediaType": DOCKER_MANIFEST,
    "config": _described("application/vnd.docker.plugin.v1+json", "a", 4224),
    "layers": [_described("application/vnd.docker.image.rootfs.diff.tar.gzip", "b", 2178)],
}
OCI_IMAGE: Document = {
    "schemaVersion": 2,
    "config": _described("application/vnd.oci.image.config.v1+json", "a", 7023),
    "layers": [
        _described("application/vnd.oci.image.layer.v1.tar+gzip", "b"),
        _described("application/vnd.oci.image.layer.v1.tar+zstd", "c", annotations={"k": "v"}),
    ],
    "subject": _described(OCI_MANIFEST, "d", 7682),
    "annotations": {"com.example.key1": "value1", "": ""},
}
ARTIFACT: Document = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "artifactType": "application/vnd.example+type",
    "config": {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": EMPTY_DIGEST,
        "size": 2,
        "data": "e30=",
    },
    "layers": [
        {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": EMPTY_DIGEST,
            "size": 2,
            "data": "e30=",
        }
    ],
}
# Go writes a nil slice as null; this is what a push of no layers looks like.
NULL_LAYERS: Document = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": _described("application/vnd.cncf.helm.config.v1+json", "a"),
    "layers": None,
    "annotations": None,
}
OCI_LIST: Document = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [
        _described(OCI_MANIFEST, "a", platform={"architecture": "amd64", "os": "linux"}),
        _described(
            OCI_MANIFEST,
            "b",
            platform={"architecture": "unknown", "os": "unknown"},
            annotations={"vnd.docker.reference.type": "attestation-manifest"},
        ),
    ],
    "annotations": {"org.opencontainers.image.created": "2024-01-01T00:00:00Z"},
}
REFERRING_INDEX: Document = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "artifactType": "application/vnd.example.sboms",
    "manifests": [],
    "subject": _described(OCI_MANIFEST, "e"),
}

EXAMPLES: Mapping[str, Document] = {
    "docker image": DOCKER_IMAGE,
    "windows image": WINDOWS_IMAGE,
    "docker list": DOCKER_INDEX,
    "plugin": PLUGIN,
    "oci image": OCI_IMAGE,
    "artifact": ARTIFACT,
    "null layers": NULL_LAYERS,
    "oci index": OCI_LIST,
    "referring index": REFERRING_INDEX,
}
