"""The commands that the documentation prints for the image are run as they are printed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.image.container import Container
from tests.image.packages import build_arguments
from tests.support.engine import DockerEngine
from tests.support.servers import PROJECT
from tests.support.tools import require_tool, run

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(600)]

# To the end of the line, and of those that it is continued on.
_COMMAND = re.compile(r"^\$ (docker (?:.*\\\n)*.*)$", re.MULTILINE)
_CONFIG = """
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {headers: {X-Mounted: [here]}}
"""
# The engine of the tests has no network of its own, and a port of the documents may be taken.
_DOCKER = """#!/bin/sh
command=$1
shift
case $command in
    build) exec {docker} build --network host {arguments} "$@" ;;
    run) exec {docker} run --network host --env REGISTRY_HTTP_ADDR={address} "$@" ;;
esac
"""


@pytest.mark.parametrize("document", ["README.md", "docs/container.md"])
def test_the_image_is_built_and_run_as_printed(
    docker: DockerEngine, image: str, context: Path, tmp_path: Path, document: str
) -> None:
    """The file in the current folder is the configuration, with the Docker that Debian has."""
    commands = _COMMAND.findall((PROJECT / document).read_text())
    build, start = (
        next(command for command in commands if command.startswith(beginning))
        for beginning in ("docker build ", "docker run -d ")
    )
    (context / "config.yml").write_text(_CONFIG)
    container = Container(docker, tmp_path)
    given = build_arguments()
    shim = tmp_path / "docker"
    shim.write_text(
        _DOCKER.format(
            docker=debians_docker(),
            address=container.address,
            arguments=" ".join(f"--build-arg={name}" for name in given),
        )
    )
    shim.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    script = f"cd {context}\n{build}\n{start}\n"
    environment = {**docker.environment, **given, "PATH": path}
    printed = run(["sh", "-euc", script], env=environment, timeout=480)
    with container.adopt(printed.split()[-1]):
        container.wait_until_answering()
        assert container.wire.expect(200, "GET", "/v2/").header("X-Mounted") == "here"


def debians_docker() -> str:
    """Return Debian's client, where the path leads to another first."""
    debians = Path("/usr/bin/docker")
    return str(debians) if debians.exists() else require_tool("docker")
