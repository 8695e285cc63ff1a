"""Docker Engine and a registry that is read-only for maintenance."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.test_docker_engine import load, pull_afresh, two_layers
from tests.live.reloads import READ_ONLY, WRITABLE, ReloadedServer
from tests.support.engine import DockerEngine
from tests.support.images import LoadableImage

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(180)]


def test_docker_reports_why_a_push_is_refused(docker: DockerEngine, tmp_path: Path) -> None:
    """It prints the reason; pulls work, and so does a push after the next reload."""
    with ReloadedServer(tmp_path / "server", WRITABLE, workers=2) as server:
        held, new = (f"{server.address}/app:{tag}" for tag in ("held", "new"))
        loaded = load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "held"), [held]))
        docker("push", held)
        load(docker, tmp_path, LoadableImage(two_layers(tmp_path, "new"), [new]))
        server.reload(READ_ONLY)
        with pytest.raises(AssertionError, match="the registry is read-only"):
            docker("push", new)
        pull_afresh(docker, held)
        assert docker.image_id(held) == loaded
        server.reload(WRITABLE)
        docker("push", new)
        docker("rmi", held, new)
