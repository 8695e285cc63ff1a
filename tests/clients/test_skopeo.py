"""skopeo copies, inspects, lists, deletes and synchronises in both manifest formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.containers import ContainersTools
from tests.support.images import oci_layout
from tests.support.servers import LiveServer
from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live]

TO_US = "--dest-tls-verify=false"
FROM_US = "--src-tls-verify=false"
WITH_US = "--tls-verify=false"


def blobs_in(folder: Path) -> set[str]:
    """Return the names of the layers and configurations in a `dir:` image."""
    return {path.name for path in folder.iterdir()} - {"manifest.json", "version"}


def test_an_oci_image_keeps_its_digest_there_and_back(
    containers: ContainersTools, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """An OCI manifest is stored and given back as the bytes that came."""
    digest = oci_layout(tmp_path / "layout", "v1")
    remote = f"docker://{server.address}/{repository}:v1"
    layout = f"oci:{tmp_path}/layout:v1"
    containers.skopeo("copy", "--format=oci", TO_US, layout, remote)
    raw = containers.skopeo("inspect", "--raw", WITH_US, remote)
    assert json.loads(raw)["mediaType"] == OCI_MANIFEST
    assert sha256(raw.encode()) == digest
    containers.skopeo("copy", FROM_US, remote, f"dir:{tmp_path}/back")
    assert sha256((tmp_path / "back" / "manifest.json").read_bytes()) == digest


def test_a_docker_schema_2_image_there_and_back(
    containers: ContainersTools, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """`--format v2s2` is stored as Docker's type, with the same layers and configuration."""
    oci_layout(tmp_path / "layout", "v1")
    remote = f"docker://{server.address}/{repository}:v1"
    layout = f"oci:{tmp_path}/layout:v1"
    containers.skopeo("copy", "--format=v2s2", TO_US, layout, remote)
    manifest = json.loads(containers.skopeo("inspect", "--raw", WITH_US, remote))
    assert manifest["mediaType"] == DOCKER_MANIFEST
    containers.skopeo("copy", FROM_US, remote, f"dir:{tmp_path}/back")
    parts = [manifest["config"], *manifest["layers"]]
    assert blobs_in(tmp_path / "back") == {part["digest"].partition(":")[2] for part in parts}


@pytest.mark.parametrize(("form", "media_type"), [("oci", OCI_INDEX), ("v2s2", DOCKER_LIST)])
def test_all_platforms_of_an_index(
    containers: ContainersTools,
    server: LiveServer,
    repository: str,
    tmp_path: Path,
    form: str,
    media_type: str,
) -> None:
    """`--all` moves the index (or manifest list) with every platform's image."""
    oci_layout(tmp_path / "layout", "v1", ("amd64", "arm64", "s390x"))
    remote = f"docker://{server.address}/{repository}:v1"
    layout = f"oci:{tmp_path}/layout:v1"
    containers.skopeo("copy", "--all", f"--format={form}", TO_US, layout, remote)
    raw = containers.skopeo("inspect", "--raw", WITH_US, remote)
    assert json.loads(raw)["mediaType"] == media_type
    containers.skopeo("copy", "--all", FROM_US, remote, f"dir:{tmp_path}/back")
    assert (tmp_path / "back" / "manifest.json").read_text() == raw
    for architecture in ("amd64", "arm64", "s390x"):
        override = f"--override-arch={architecture}"
        config = containers.skopeo(override, "inspect", "--config", WITH_US, remote)
        assert json.loads(config)["architecture"] == architecture


def test_an_oci_index_keeps_its_digest(
    containers: ContainersTools, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """With `--preserve-digests` the index comes back under the digest it had before."""
    digest = oci_layout(tmp_path / "layout", "v1", ("amd64", "arm64"))
    remote = f"docker://{server.address}/{repository}"
    layout = f"oci:{tmp_path}/layout:v1"
    containers.skopeo("copy", "--all", "--preserve-digests", TO_US, layout, f"{remote}:v1")
    raw = containers.skopeo("inspect", "--raw", WITH_US, f"{remote}@{digest}")
    assert sha256(raw.encode()) == digest


def test_inspect_and_list_tags(
    containers: ContainersTools, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """`inspect` and `list-tags` name every tag of the repository."""
    remote = f"docker://{server.address}/{repository}"
    digests = {}
    for tag in ("a", "b-2", "C_3"):
        digests[tag] = oci_layout(tmp_path / tag, tag)
        containers.skopeo("copy", TO_US, f"oci:{tmp_path}/{tag}:{tag}", f"{remote}:{tag}")
    listed = json.loads(containers.skopeo("list-tags", WITH_US, remote))
    assert sorted(listed["Tags"]) == sorted(digests)
    inspected = json.loads(containers.skopeo("inspect", WITH_US, f"{remote}:b-2"))
    assert inspected["Digest"] == digests["b-2"]
    assert sorted(inspected["RepoTags"]) == sorted(digests)


def test_delete(
    containers: ContainersTools, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """`delete` removes the image its tag names; the other tag of the repository stays."""
    remote = f"docker://{server.address}/{repository}"
    for tag in ("gone", "kept"):
        oci_layout(tmp_path / tag, tag)
        containers.skopeo("copy", TO_US, f"oci:{tmp_path}/{tag}:{tag}", f"{remote}:{tag}")
    containers.skopeo("delete", WITH_US, f"{remote}:gone")
    assert json.loads(containers.skopeo("list-tags", WITH_US, remote))["Tags"] == ["kept"]
    with pytest.raises(AssertionError, match="manifest unknown"):
        containers.skopeo("inspect", WITH_US, f"{remote}:gone")
    containers.skopeo("inspect", WITH_US, f"{remote}:kept")


def test_sync_of_a_repository(
    containers: ContainersTools, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """`sync` fetches every tag of a repository, and puts a folder of images back."""
    remote = f"{server.address}/{repository}"
    for tag in ("v1", "v2"):
        oci_layout(tmp_path / tag, tag)
        layout = f"oci:{tmp_path}/{tag}:{tag}"
        containers.skopeo("copy", TO_US, layout, f"docker://{remote}/app:{tag}")
    fetched, copy = tmp_path / "fetched", f"{remote}/copy"
    sync = ["sync", FROM_US, "--src=docker", "--dest=dir", f"{remote}/app", str(fetched)]
    containers.skopeo(*sync)
    assert sorted(path.name for path in fetched.iterdir()) == ["app:v1", "app:v2"]
    containers.skopeo("sync", TO_US, "--src=dir", "--dest=docker", str(fetched), copy)
    for tag in ("v1", "v2"):
        original, synced = (
            containers.skopeo("inspect", "--raw", WITH_US, f"docker://{name}:{tag}")
            for name in (f"{remote}/app", f"{copy}/app")
        )
        assert synced == original
