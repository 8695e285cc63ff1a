"""Real clients, each started once, against one live server.

With REGISTRY_TESTS_PEER=1 the server is Debian's docker-registry: what fails there too is
a client's habit or a fault of the test, not of ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import client_folder, containerd, containers, docker
from tests.support.guarded import guarded_config
from tests.support.servers import DistributionServer, LiveServer, RegistryServer

__all__ = ["client_folder", "containerd", "containers", "docker"]

PEER_VARIABLE = "REGISTRY_TESTS_PEER"


@pytest.fixture(scope="session")
def server(client_folder: Path) -> Iterator[LiveServer]:
    """Return the live server that all client tests share, each with repositories of its own."""
    folder = client_folder / "registry"
    peer = os.environ.get(PEER_VARIABLE) == "1"
    with DistributionServer(folder) if peer else RegistryServer(folder, workers=2) as live:
        yield live


@pytest.fixture(scope="session")
def guarded(client_folder: Path) -> Iterator[RegistryServer]:
    """Return a server with users and rules that tests share: ann owns all, others their homes.

    Every client may pull public images.
    """
    folder = client_folder / "guarded"
    folder.mkdir()
    with RegistryServer(folder / "server", config=guarded_config(folder), workers=2) as live:
        yield live


@pytest.fixture
def beyond_the_peer(server: LiveServer) -> None:
    """Skip features that registry 2.8 lacks, if that is the server."""
    if isinstance(server, DistributionServer):
        pytest.skip("docker-registry 2.8 does not do this")


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """Return a repository name that no other test uses."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return f"clients/{request.module.__name__.rpartition('_')[2]}/{name.strip('-')}"
