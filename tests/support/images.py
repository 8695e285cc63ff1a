"""Images made without a network, in the formats that clients load.

A docker-archive is what `docker load` reads; an OCI layout is what skopeo and podman copy.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.documents import config_for, descriptor, image_index, image_manifest
from tests.support.layers import add, compressed, tar_of
from tests.support.wire import OCI_INDEX, OCI_MANIFEST, sha256


@dataclass(frozen=True, slots=True)
class LoadableImage:
    """An image for `docker load`: layers are tar files, tags are whole references."""

    layers: Sequence[Path]
    tags: Sequence[str]

    def config(self) -> bytes:
        """Return the configuration; its sha256 is the image ID."""
        diff_ids = [f"sha256:{_file_hex(layer)}" for layer in self.layers]
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2020-01-01T00:00:00Z",
            "config": {"Cmd": ["/none"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": f"layer {layer.name}"} for layer in self.layers],
        }
        return json.dumps(document).encode()

    def image_id(self) -> str:
        """Return the ID that Docker Engine gives this image."""
        return sha256(self.config())


def docker_archive(path: Path, image: LoadableImage) -> Path:
    """Write what `docker load` reads and return its path."""
    config = image.config()
    entry = {
        "Config": "config.json",
        "RepoTags": list(image.tags),
        "Layers": [f"{number}.tar" for number in range(len(image.layers))],
    }
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, layer in enumerate(image.layers):
            archive.add(layer, f"{number}.tar")
        _add_bytes(archive, "config.json", config)
        _add_bytes(archive, "manifest.json", json.dumps([entry]).encode())
    return path


def oci_layout(folder: Path, tag: str, architectures: Sequence[str] = ("amd64",)) -> str:
    """Write an OCI layout with one tag; return the digest the tag names.

    One architecture gives an image manifest, several an index of them. They share a layer
    and have one of their own, as real multi-platform images do.
    """
    store = _Layout(folder)
    manifests = {name: store.put_image(name, tag) for name in architectures}
    if len(manifests) == 1:
        media_type, document = OCI_MANIFEST, next(iter(manifests.values()))
    else:
        media_type, document = OCI_INDEX, image_index(manifests)
    store.finish(tag, media_type, document)
    return sha256(document)


@dataclass(frozen=True, slots=True)
class _Layout:
    folder: Path

    def put(self, content: bytes) -> bytes:
        blobs = self.folder / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (blobs / hashlib.sha256(content).hexdigest()).write_bytes(content)
        return content

    def put_image(self, architecture: str, note: str) -> bytes:
        layers = [
            tar_of({"etc/shared": note.encode()}),
            tar_of({"bin/own": f"{architecture} {note}".encode()}),
        ]
        config = self.put(config_for(layers, architecture))
        blobs = [self.put(compressed(layer)) for layer in layers]
        return self.put(image_manifest(config, blobs, OCI_MANIFEST))

    def finish(self, tag: str, media_type: str, document: bytes) -> None:
        self.put(document)
        entry = descriptor(media_type, document)
        entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        index: Mapping[str, object] = {"schemaVersion": 2, "manifests": [entry]}
        (self.folder / "index.json").write_text(json.dumps(index))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _file_hex(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    add(archive, name, len(content), io.BytesIO(content))
