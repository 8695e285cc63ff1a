"""The image, built once as the README says, in an engine that these tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.base import import_base
from tests.image.container import IMAGE
from tests.image.packages import authorities, build_arguments
from tests.support.engine import DockerEngine
from tests.support.fixtures import client_folder, containers
from tests.support.servers import PROJECT

__all__ = ["client_folder", "containers"]

SENT = ("Dockerfile", ".dockerignore", "LICENSE", "requirements", "registry_server", "storage")


@pytest.fixture(scope="session")
def docker(client_folder: Path) -> Iterator[DockerEngine]:
    """Give a running Docker Engine, with the storage driver that it chooses."""
    engine = DockerEngine(client_folder / "docker", driver=None).start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def context(client_folder: Path) -> Path:
    """Give a copy of what the build is sent, with the CAs of this machine as a company's."""
    folder = client_folder / "context"
    for name in (*SENT, "docker"):
        source = PROJECT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.crt")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    if (bundle := authorities()) is not None:
        shutil.copy(bundle, folder / "docker/certificates/machine.crt")
    return folder


@pytest.fixture(scope="session")
def image(docker: DockerEngine, client_folder: Path, context: Path) -> str:
    """Give the name of the image, built from its base without BuildKit."""
    import_base(docker, client_folder)
    given = build_arguments()
    # Without a value on the command line, which is printed when the build fails.
    options = [f"--build-arg={name}" for name in given]
    command = ("build", "--network=host", "--tag", IMAGE, *options, str(context))
    docker(*command, timeout=480, env=given)
    return IMAGE
