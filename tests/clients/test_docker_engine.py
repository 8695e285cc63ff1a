"""Docker Engine pushes and pulls: what left is what comes back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.containers import ContainersTools
from tests.support.engine import DockerEngine
from tests.support.images import LoadableImage, docker_archive, oci_layout
from tests.support.layers import MIB, write_big_tar, write_tar
from tests.support.servers import LiveServer
from tests.support.tools import require_tool, run
from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]

_DOCKERFILE = """FROM scratch
ADD one.tar /
ADD two.tar /srv/
ENV MADE_BY=tests
CMD ["/none"]
"""


def load(docker: DockerEngine, folder: Path, image: LoadableImage) -> str:
    """Load an image into the engine; return its ID."""
    archive = docker_archive(folder / "archive.tar", image)
    docker("load", "--input", str(archive))
    archive.unlink()
    return image.image_id()


def two_layers(folder: Path, seed: str) -> list[Path]:
    """Write two small layers that differ with `seed`."""
    return [
        write_tar(folder / f"base-{seed}.tar", {"etc/base": seed.encode() * 500}),
        write_tar(folder / f"top-{seed}.tar", {"bin/top": seed.encode()[::-1] * 700}),
    ]


def pull_afresh(docker: DockerEngine, reference: str, *present: str, timeout: float = 120) -> None:
    """Remove an image (and other names of it), then pull it; fail if layers were still there."""
    docker("rmi", *(present or (reference,)))
    printed = docker("pull", reference, timeout=timeout)
    assert "Pull complete" in printed
    assert "Already exists" not in printed


def manifest_of(server: LiveServer, repository: str, reference: str) -> bytes:
    """Return what curl gets for a Docker schema 2 manifest."""
    url = f"{server.url}/v2/{repository}/manifests/{reference}"
    command = [require_tool("curl"), "-sS", "--fail", "-H", f"Accept: {DOCKER_MANIFEST}", url]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_a_built_image_comes_back_with_the_same_id(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """Build, push, rmi, pull: the image ID, and so every byte of every layer, is the same."""
    reference = f"{server.address}/{repository}:v1"
    write_tar(tmp_path / "one.tar", {"etc/one": b"one"})
    write_tar(tmp_path / "two.tar", {"two": b"two" * 1000})
    (tmp_path / "Dockerfile").write_text(_DOCKERFILE)
    docker("build", "--tag", reference, str(tmp_path))
    built = docker.image_id(reference)
    docker("push", reference)
    pull_afresh(docker, reference)
    assert docker.image_id(reference) == built


def test_an_imported_file_system_comes_back_with_the_same_files(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """What `docker import` took in stands in the layer that `docker save` gives after a pull."""
    reference = f"{server.address}/{repository}:v1"
    docker("import", str(write_tar(tmp_path / "root.tar", {"hello": b"kept"})), reference)
    docker("push", reference)
    pull_afresh(docker, reference)
    docker("save", "--output", str(tmp_path / "saved.tar"), reference)
    tar = require_tool("tar")
    listing = run([tar, "-xOf", str(tmp_path / "saved.tar"), "--wildcards", "*/layer.tar"])
    assert "kept" in listing


def test_pull_by_digest(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """The digest that push printed names the same image, without any tag."""
    name = f"{server.address}/{repository}"
    image = LoadableImage(two_layers(tmp_path, "digest"), [f"{name}:v1"])
    loaded = load(docker, tmp_path, image)
    printed = docker("push", f"{name}:v1")
    digest = printed.partition("digest: ")[2].split()[0]
    pull_afresh(docker, f"{name}@{digest}", f"{name}:v1")
    assert docker.image_id(f"{name}@{digest}") == loaded


def test_the_digest_docker_shows_is_that_of_the_bytes_curl_gets(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """`docker images --digests` and the sha256 of the manifest are one."""
    name = f"{server.address}/{repository}"
    load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "shown"), [f"{name}:v1"]))
    docker("push", f"{name}:v1")
    shown = docker("images", "--digests", "--format", "{{.Digest}}", name)
    assert shown == sha256(manifest_of(server, repository, "v1"))


@pytest.mark.timeout(300)
def test_layers_of_hundreds_of_megabytes(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """An image with a layer that stays above 300 MB when compressed is pushed and pulled."""
    reference = f"{server.address}/{repository}:big"
    small = two_layers(tmp_path, "big")
    big = write_big_tar(tmp_path / "big.tar", 300, seed=300)
    loaded = load(docker, tmp_path, LoadableImage([*small, big], [reference]))
    big.unlink()
    docker("push", reference, timeout=200)
    layers = json.loads(manifest_of(server, repository, "big"))["layers"]
    assert max(layer["size"] for layer in layers) >= 300 * MIB
    pull_afresh(docker, reference, timeout=200)
    assert docker.image_id(reference) == loaded
    docker("rmi", reference)


def test_all_tags(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """`push --all-tags` and `pull --all-tags` move every tag, each with its own image."""
    name = f"{server.address}/{repository}"
    tags = ["v1", "v2", "v3"]
    loaded = {
        tag: load(docker, tmp_path, LoadableImage(two_layers(tmp_path, tag), [f"{name}:{tag}"]))
        for tag in tags
    }
    docker("push", "--all-tags", name)
    docker("rmi", *(f"{name}:{tag}" for tag in tags))
    assert "Already exists" not in docker("pull", "--all-tags", name)
    assert {tag: docker.image_id(f"{name}:{tag}") for tag in tags} == loaded


def test_an_empty_layer_between_others(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """A layer that changes no file is kept where it is."""
    reference = f"{server.address}/{repository}:v1"
    first, last = two_layers(tmp_path, "empty")
    layers = [first, write_tar(tmp_path / "nothing.tar", {}), last]
    loaded = load(docker, tmp_path, LoadableImage(layers, [reference]))
    docker("push", reference)
    pull_afresh(docker, reference)
    assert docker.image_id(reference) == loaded


def test_layers_are_mounted_into_a_second_repository(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """Pushed under a second name, known layers are mounted instead of sent again."""
    first, second = (f"{server.address}/{repository}-{name}:v1" for name in ("from", "to"))
    loaded = load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "mount"), [first]))
    docker("push", first)
    docker("tag", first, second)
    printed = docker("push", second)
    assert printed.count(f"Mounted from {repository}-from") == 2
    pull_afresh(docker, second, first, second)
    assert docker.image_id(second) == loaded


def test_a_tag_pushed_again_names_the_new_image(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """After a second push the tag gives the second image, and the first has no tag left."""
    reference = f"{server.address}/{repository}:latest"
    load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "old"), [reference]))
    docker("push", reference)
    newer = load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "new"), [reference]))
    docker("push", reference)
    pull_afresh(docker, reference)
    assert docker.image_id(reference) == newer


def test_a_manifest_list_made_by_docker(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """`docker manifest push` stores a manifest list, and a pull of it takes our platform."""
    name = f"{server.address}/{repository}"
    loaded = load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "one"), [f"{name}:one"]))
    docker("push", f"{name}:one")
    docker("manifest", "create", "--insecure", f"{name}:multi", f"{name}:one")
    docker("manifest", "annotate", "--arch", "amd64", f"{name}:multi", f"{name}:one")
    docker("manifest", "push", "--insecure", "--purge", f"{name}:multi")
    stored = server.wire.expect(
        200, "GET", f"/v2/{repository}/manifests/multi", headers={"Accept": DOCKER_LIST}
    )
    assert stored.header("Content-Type") == DOCKER_LIST
    pull_afresh(docker, f"{name}:multi", f"{name}:one")
    assert docker.image_id(f"{name}:multi") == loaded


def test_docker_takes_its_platform_from_an_oci_index(
    docker: DockerEngine,
    containers: ContainersTools,
    server: LiveServer,
    repository: str,
    tmp_path: Path,
) -> None:
    """Of an index that skopeo pushed, Docker pulls the image that --platform asks for."""
    reference = f"{server.address}/{repository}:multi"
    oci_layout(tmp_path / "layout", "multi", ("amd64", "arm64"))
    source, target = f"oci:{tmp_path}/layout:multi", f"docker://{reference}"
    containers.skopeo("copy", "--all", "--dest-tls-verify=false", source, target)
    for architecture in ("arm64", "amd64"):
        docker("pull", "--platform", f"linux/{architecture}", reference)
        pulled = docker("image", "inspect", "--format", "{{.Architecture}}", reference)
        assert pulled == architecture


def test_an_unknown_tag_is_reported_as_such(
    docker: DockerEngine, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """Docker says that the manifest is unknown, not that something broke."""
    name = f"{server.address}/{repository}"
    load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "known"), [f"{name}:known"]))
    docker("push", f"{name}:known")
    with pytest.raises(AssertionError, match=r"manifest unknown|not found"):
        docker("pull", f"{name}:unknown")
