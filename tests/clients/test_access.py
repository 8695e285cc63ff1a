"""Real clients log in, push, and are refused with a reason that their users can read."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_docker_engine import load, pull_afresh, two_layers
from tests.support.containers import ContainersTools
from tests.support.engine import DockerEngine
from tests.support.guarded import ANN, BOB, guarded_config
from tests.support.images import LoadableImage, docker_archive, oci_layout
from tests.support.layers import write_tar
from tests.support.servers import RegistryServer

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RegistryServer]:
    """Serve with two users and rules: ann owns all, bob his home, everybody may pull public/."""
    with RegistryServer(tmp_path / "server", config=guarded_config(tmp_path), workers=2) as server:
        yield server


def test_docker_logs_in_pushes_and_logs_out(
    docker: DockerEngine, guarded: RegistryServer, tmp_path: Path
) -> None:
    """A push needs a login, a pull of what is public none; a wrong password is told so."""
    own, public = f"{guarded.address}/team/app:v1", f"{guarded.address}/public/app:v1"
    loaded = load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "access"), [own, public]))
    with pytest.raises(AssertionError, match="denied"):
        docker("push", own)
    with pytest.raises(AssertionError, match="unauthorized"):
        docker("login", guarded.address, "--username=ann", "--password=wrong")
    assert "Login Succeeded" in docker(
        "login", guarded.address, "--username=ann", f"--password={ANN}"
    )
    docker("push", own)
    docker("push", public)
    pull_afresh(docker, own, own, public)
    assert docker.image_id(own) == loaded
    docker("logout", guarded.address)
    docker("rmi", own)
    with pytest.raises(AssertionError, match="access denied"):
        docker("pull", own)
    docker("pull", public)
    assert docker.image_id(public) == loaded
    docker("rmi", public)
    assert ANN not in guarded.log


def test_docker_is_told_that_a_tag_may_not_be_moved(
    docker: DockerEngine, guarded: RegistryServer, tmp_path: Path
) -> None:
    """Without `overwrite` a tag is set once, and the terminal says so the second time."""
    tag = f"{guarded.address}/home/bob/app:v1"
    docker("login", guarded.address, "--username=bob", f"--password={BOB}")
    load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "first"), [tag]))
    docker("push", tag)
    docker("push", tag)
    docker("rmi", tag)
    load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "second"), [tag]))
    with pytest.raises(AssertionError, match="the tag v1 exists and may not be moved"):
        docker("push", tag)
    docker("logout", guarded.address)
    docker("rmi", tag)


def test_skopeo_shows_a_password_with_each_command(
    containers: ContainersTools, guarded: RegistryServer, tmp_path: Path
) -> None:
    """It gets tokens for it, and is refused by name where the rules refuse."""
    oci_layout(tmp_path / "layout", "v1")
    source = f"oci:{tmp_path}/layout:v1"
    insecure = ("--dest-tls-verify=false", f"--dest-creds=bob:{BOB}")
    own, other = (f"docker://{guarded.address}/{name}:v1" for name in ("home/bob/x", "home/ann/x"))
    containers.skopeo("copy", *insecure, source, own)
    with pytest.raises(AssertionError, match="home/ann/x: 403"):
        containers.skopeo("copy", *insecure, source, other)
    read = ("--tls-verify=false", f"--creds=bob:{BOB}")
    assert "sha256:" in containers.skopeo("inspect", *read, own)


def test_podman_logs_in(containers: ContainersTools, guarded: RegistryServer) -> None:
    """A right password is taken and a wrong one is not."""
    where = ("--tls-verify=false", "--username=ann", guarded.address)
    assert "Login Succeeded" in containers.podman("login", f"--password={ANN}", *where)
    with pytest.raises(AssertionError, match="invalid username/password"):
        containers.podman("login", "--password=wrong", *where)
    containers.podman("logout", guarded.address)


def test_curl_shows_a_password_directly(guarded: RegistryServer) -> None:
    """Basic works beside tokens, for scripts."""

    def curl(*options: str) -> dict[str, object]:
        command = ["curl", "-sS", *options, f"{guarded.url}/v2/_catalog"]
        answer: dict[str, object] = json.loads(subprocess.check_output(command))
        return answer

    assert curl("--user", f"ann:{ANN}") == {"repositories": []}
    for options in ((), ("--user", "ann:wrong")):
        assert "UNAUTHORIZED" in str(curl(*options))


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[RegistryServer]:
    """Serve repositories of 200 kB each."""
    limits = {"repositories": [{"repositories": ["**"], "bytes": "200kB"}]}
    config = json.dumps({"version": "0.1", "limits": limits})
    with RegistryServer(tmp_path / "server", config=config, workers=2) as server:
        yield server


def test_docker_is_told_that_a_repository_is_full(
    docker: DockerEngine, limited: RegistryServer, tmp_path: Path
) -> None:
    """In words that say how full; what fits is pushed, and once more under another tag."""
    small, other = (f"{limited.address}/team/app:{tag}" for tag in ("small", "other"))
    large = f"{limited.address}/team/app:large"
    load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "small"), [small, other]))
    docker("push", small)
    noise = write_tar(tmp_path / "noise.tar", {"noise": os.urandom(300_000)})
    load(docker, tmp_path, LoadableImage([noise], [large]))
    with pytest.raises(AssertionError, match="denied: repository team/app may hold 200 kB and"):
        docker("push", large)
    docker("push", other)
    assert docker("push", small).count("Layer already exists") == 2
    pull_afresh(docker, small, small, other)
    docker("rmi", small, large)


def test_skopeo_is_told_that_a_repository_is_full(
    containers: ContainersTools, limited: RegistryServer, tmp_path: Path
) -> None:
    """It prints the registry's words, too."""
    layer = write_tar(tmp_path / "noise.tar", {"noise": os.urandom(300_000)})
    archive = docker_archive(tmp_path / "archive.tar", LoadableImage([layer], ["a/b:c"]))
    target = f"docker://{limited.address}/team/app:large"
    with pytest.raises(AssertionError, match="repository team/app may hold 200 kB and holds"):
        containers.skopeo("copy", "--dest-tls-verify=false", f"docker-archive:{archive}", target)
