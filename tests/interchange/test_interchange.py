"""One folder, served by this server and by docker-registry in turn, with real clients.

Four turns, so that each server twice finds what the other one left. In each turn everything
pushed so far is pulled and compared, one image is deleted, and more is pushed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.support.containers import ContainersTools
from tests.support.documents import descriptor
from tests.support.engine import DockerEngine
from tests.support.images import LoadableImage, docker_archive, oci_layout
from tests.support.layers import write_tar
from tests.support.processes import free_port
from tests.support.servers import DistributionServer, LiveServer, RegistryServer
from tests.support.tree import LAYOUT
from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(240)]

EVERY_TYPE = ", ".join([DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX])
TURNS = 4
KINDS: list[type[LiveServer]] = [RegistryServer, DistributionServer]


def alternating(
    folder: Path, first: type[LiveServer], second: type[LiveServer]
) -> Iterator[LiveServer]:
    """Yield running servers over one root and one port, each stopped before the next starts."""
    port = free_port()
    for kind in islice(cycle([first, second]), TURNS):
        with kind(folder, folder / "root", port) as server:
            yield server


@dataclass(slots=True)
class SkopeoPushes:
    """What skopeo pushed in all turns: tag to the digest the server answered for it."""

    tools: ContainersTools
    folder: Path
    repository: str
    digests: dict[str, str] = field(default_factory=dict)

    def push(self, server: LiveServer, tag: str, form: str, *architectures: str) -> None:
        """Push a new image (or index, of several architectures) and note its digest."""
        layout = self.folder / "layouts" / tag
        oci_layout(layout, tag, architectures)
        remote = f"docker://{server.address}/{self.repository}:{tag}"
        copy = ["copy", "--all", f"--format={form}", "--dest-tls-verify=false"]
        self.tools.skopeo(*copy, f"oci:{layout}:{tag}", remote)
        self.digests[tag] = digest_of(server, self.repository, tag)

    def delete(self, server: LiveServer, tag: str) -> None:
        """Delete the image of a tag by digest, as skopeo does."""
        remote = f"docker://{server.address}/{self.repository}:{tag}"
        self.tools.skopeo("delete", "--tls-verify=false", remote)
        del self.digests[tag]

    def check(self, server: LiveServer, turn: int) -> None:
        """Pull everything and compare; deleted tags must not be listed."""
        remote = f"docker://{server.address}/{self.repository}"
        if self.digests:
            listed = self.tools.skopeo("list-tags", "--tls-verify=false", remote)
            assert sorted(json.loads(listed)["Tags"]) == sorted(self.digests)
        for tag, digest in self.digests.items():
            target = self.folder / "pulled" / f"{turn}-{tag}"
            target.parent.mkdir(exist_ok=True)
            copy = ["copy", "--all", "--src-tls-verify=false", f"{remote}:{tag}", f"dir:{target}"]
            self.tools.skopeo(*copy)
            assert sha256((target / "manifest.json").read_bytes()) == digest


@dataclass(slots=True)
class DockerPushes:
    """What Docker pushed in all turns: tag to image ID."""

    docker: DockerEngine
    folder: Path
    repository: str
    images: dict[str, str] = field(default_factory=dict)

    def push(self, server: LiveServer, tag: str) -> None:
        """Push an image that shares its first layer with all others, then forget it locally."""
        reference = f"{server.address}/{self.repository}:{tag}"
        layers = [
            write_tar(self.folder / "shared.tar", {"etc/shared": b"shared by all"}),
            write_tar(self.folder / "own.tar", {"etc/own": tag.encode() * 99}),
        ]
        image = LoadableImage(layers, [reference])
        self.docker("load", "--input", str(docker_archive(self.folder / "load.tar", image)))
        self.docker("push", reference)
        self.docker("rmi", reference)
        self.images[tag] = image.image_id()

    def delete(self, server: LiveServer, tag: str) -> None:
        """Delete a tag where the server can, else the image it names."""
        by_tag = isinstance(server, RegistryServer)
        reference = tag if by_tag else digest_of(server, self.repository, tag)
        server.wire.expect(202, "DELETE", f"/v2/{self.repository}/manifests/{reference}")
        del self.images[tag]

    def check(self, server: LiveServer) -> None:
        """Pull all tags with one command; tags and image IDs are as pushed."""
        name = f"{server.address}/{self.repository}"
        if not self.images:
            return
        self.docker("pull", "--all-tags", name)
        listed = self.docker("images", "--format", "{{.Tag}}", name).split()
        pulled = {tag: self.docker.image_id(f"{name}:{tag}") for tag in listed}
        self.docker("rmi", *(f"{name}:{tag}" for tag in listed))
        assert pulled == self.images


def digest_of(server: LiveServer, repository: str, tag: str) -> str:
    """Return the digest of what a tag names, whatever its type."""
    target = f"/v2/{repository}/manifests/{tag}"
    answer = server.wire.expect(200, "HEAD", target, headers={"Accept": EVERY_TYPE})
    return answer.header("Docker-Content-Digest")


@pytest.mark.parametrize(("first", "second"), [KINDS, KINDS[::-1]])
def test_skopeo_images_outlive_every_change_of_server(
    containers: ContainersTools,
    tmp_path: Path,
    first: type[LiveServer],
    second: type[LiveServer],
) -> None:
    """Docker and OCI images and an OCI index stay under their digests; deleted ones stay away."""
    pushes = SkopeoPushes(containers, tmp_path, "team/skopeo")
    for turn, server in enumerate(alternating(tmp_path, first, second)):
        pushes.check(server, turn)
        pushes.push(server, f"oci-{turn}", "oci", "amd64")
        pushes.push(server, f"docker-{turn}", "v2s2", "amd64")
        pushes.push(server, f"index-{turn}", "oci", "amd64", "arm64")
        pushes.push(server, f"deleted-{turn}", "oci", "amd64")
        if turn:
            pushes.delete(server, f"deleted-{turn - 1}")
    assert len(pushes.digests) == 3 * TURNS + 1


@pytest.mark.parametrize(("first", "second"), [KINDS, KINDS[::-1]])
def test_docker_images_outlive_every_change_of_server(
    docker: DockerEngine, tmp_path: Path, first: type[LiveServer], second: type[LiveServer]
) -> None:
    """Images with a shared layer keep their IDs; tags deleted on one are missing on the other."""
    pushes = DockerPushes(docker, tmp_path, "team/docker")
    for turn, server in enumerate(alternating(tmp_path, first, second)):
        pushes.check(server)
        pushes.push(server, f"kept-{turn}")
        pushes.push(server, f"deleted-{turn}")
        if turn:
            pushes.delete(server, f"deleted-{turn - 1}")
    assert len(pushes.images) == TURNS + 1


def test_the_garbage_collector_of_distribution_keeps_referenced_blobs(
    containers: ContainersTools, tmp_path: Path
) -> None:
    """It deletes blobs of the deleted image alone; images, an index and an artifact stay."""
    pushes = SkopeoPushes(containers, tmp_path, "team/collected")
    ours = RegistryServer(tmp_path).start()
    pushes.push(ours, "docker", "v2s2", "amd64")
    pushes.push(ours, "index", "oci", "amd64", "arm64")
    artifact = push_artifact(ours, pushes.repository, pushes.digests["index"])
    before = blobs_under(ours)
    pushes.push(ours, "deleted", "oci", "amd64")
    pushes.delete(ours, "deleted")
    ours.stop()
    assert blobs_under(ours) > before
    theirs = DistributionServer(tmp_path)
    theirs.garbage_collect()
    assert blobs_under(ours) == before
    with theirs:
        pushes.check(theirs, turn=0)
        assert catalog(theirs) == [pushes.repository]
    with ours:
        pushes.check(ours, turn=1)
        target = f"/v2/{pushes.repository}/referrers/{pushes.digests['index']}"
        referrers = json.loads(ours.wire.expect(200, "GET", target).body)["manifests"]
        assert [entry["digest"] for entry in referrers] == [artifact]


def push_artifact(server: LiveServer, repository: str, subject: str) -> str:
    """Push an artifact that refers to `subject`; return its digest."""
    empty = b"{}"
    server.wire.push_blob(repository, empty)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": descriptor("application/vnd.oci.empty.v1+json", empty),
        "layers": [descriptor("application/vnd.oci.empty.v1+json", empty)],
        "subject": {"mediaType": OCI_INDEX, "digest": subject, "size": 1},
    }
    manifest = json.dumps(document).encode()
    return server.wire.push_manifest(repository, sha256(manifest), manifest, OCI_MANIFEST)


def blobs_under(server: LiveServer) -> set[str]:
    """Return the digests of all blobs on disk."""
    return {path.parent.name for path in (server.root / LAYOUT / "blobs").glob("*/*/*/data")}


def catalog(server: LiveServer) -> list[str]:
    """Return the repositories that the server lists."""
    listed = json.loads(server.wire.expect(200, "GET", "/v2/_catalog").body)
    return [str(name) for name in listed["repositories"]]
