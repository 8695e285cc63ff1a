"""Session fixtures of real clients; a conftest imports those that its tests use."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containerd import Containerd
from tests.support.containers import ContainersTools
from tests.support.engine import DockerEngine


@pytest.fixture(scope="session")
def client_folder() -> Iterator[Path]:
    """Give a folder for all that clients store; it is gone at the end, hundreds of MB or not."""
    folder = Path(tempfile.mkdtemp(prefix="registry-clients-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def docker(client_folder: Path) -> Iterator[DockerEngine]:
    """Give a running Docker Engine."""
    engine = DockerEngine(client_folder / "docker").start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def containerd(client_folder: Path) -> Iterator[Containerd]:
    """Give a running containerd."""
    daemon = Containerd(client_folder / "containerd").start()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def containers(client_folder: Path) -> ContainersTools:
    """Give skopeo, podman and buildah."""
    return ContainersTools(client_folder / "containers")
