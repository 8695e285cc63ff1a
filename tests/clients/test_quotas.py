"""Real clients show their users that a repository is full."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_docker_engine import load, pull_afresh, two_layers
from tests.support.containers import ContainersTools
from tests.support.engine import DockerEngine
from tests.support.images import LoadableImage, docker_archive
from tests.support.layers import write_tar
from tests.support.servers import RegistryServer

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[RegistryServer]:
    """Serve repositories of 200 kB each."""
    limits = {"repositories": [{"repositories": ["**"], "bytes": "200kB"}]}
    config = json.dumps({"version": "0.1", "limits": limits})
    with RegistryServer(tmp_path / "server", config=config, workers=2) as server:
        yield server


def test_docker_reports_that_a_repository_is_full(
    docker: DockerEngine, limited: RegistryServer, tmp_path: Path
) -> None:
    """The error has the usage; an image that fits is pushed, also under another tag."""
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


def test_skopeo_reports_that_a_repository_is_full(
    containers: ContainersTools, limited: RegistryServer, tmp_path: Path
) -> None:
    """It prints the registry's message, too."""
    layer = write_tar(tmp_path / "noise.tar", {"noise": os.urandom(300_000)})
    archive = docker_archive(tmp_path / "archive.tar", LoadableImage([layer], ["a/b:c"]))
    target = f"docker://{limited.address}/team/app:large"
    with pytest.raises(AssertionError, match="repository team/app may hold 200 kB and holds"):
        containers.skopeo("copy", "--dest-tls-verify=false", f"docker-archive:{archive}", target)
