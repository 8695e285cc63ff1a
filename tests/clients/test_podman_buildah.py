"""podman and buildah push and pull images they made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.containers import ContainersTools
from tests.support.layers import write_tar
from tests.support.servers import LiveServer
from tests.support.wire import DOCKER_MANIFEST, OCI_MANIFEST

pytestmark = [pytest.mark.clients, pytest.mark.live]

PLAIN = "--tls-verify=false"
ANY_IMAGE = ", ".join([OCI_MANIFEST, DOCKER_MANIFEST])


@pytest.mark.parametrize(("form", "media_type"), [("oci", OCI_MANIFEST), ("v2s2", DOCKER_MANIFEST)])
def test_podman_push_and_pull(
    containers: ContainersTools,
    server: LiveServer,
    repository: str,
    tmp_path: Path,
    form: str,
    media_type: str,
) -> None:
    """An imported image pushed in either format is pulled with the same ID."""
    reference = f"{server.address}/{repository}:v1"
    layer = write_tar(tmp_path / "root.tar", {"hello": form.encode() * 999})
    containers.podman("import", str(layer), reference)
    containers.podman("push", PLAIN, f"--format={form}", reference)
    manifest = f"/v2/{repository}/manifests/v1"
    stored = server.wire.expect(200, "HEAD", manifest, headers={"Accept": ANY_IMAGE})
    assert stored.header("Content-Type") == media_type
    imported = containers.podman("images", "--no-trunc", "--quiet", reference)
    containers.podman("rmi", reference)
    pulled = containers.podman("pull", PLAIN, "--quiet", reference)
    assert f"sha256:{pulled}" == imported


def test_buildah_commit_push_and_pull(
    containers: ContainersTools, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """An image committed from a working container has the same ID after a pull."""
    reference = f"{server.address}/{repository}:v1"
    content = tmp_path / "content"
    content.write_text("carried by buildah\n")
    working = containers.buildah("from", "scratch")
    containers.buildah("add", working, str(content), "/content")
    containers.buildah("commit", working, reference)
    containers.buildah("rm", working)
    image = containers.buildah("images", "--no-trunc", "--quiet", reference)
    containers.buildah("push", PLAIN, reference)
    containers.buildah("rmi", reference)
    containers.buildah("pull", PLAIN, reference)
    assert containers.buildah("images", "--no-trunc", "--quiet", reference) == image
