"""A live server that the tests share, each in repositories of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.sockets import Connection
from tests.support.servers import RegistryServer

CONFIG = """
version: 0.1
log: {level: debug}
storage: {delete: {enabled: true}, filesystem: {rootdirectory: /nowhere}}
http: {draintimeout: 20s}
"""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Give a server with two workers."""
    with RegistryServer(tmp_path_factory.mktemp("shared"), config=CONFIG) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    """Give a server with two workers of the test's own, to stop and kill as it likes."""
    made = RegistryServer(tmp_path / "server", config=CONFIG)
    with made:
        yield made


@pytest.fixture
def connect(shared: RegistryServer) -> Iterator[Callable[[], Connection]]:
    """Open connections to the shared server; they are closed at the end."""
    opened: list[Connection] = []

    def open_one() -> Connection:
        opened.append(Connection.to(shared.port))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Give a repository name that no other test uses."""
    text = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return f"live/{text.strip('-')}"[:100].rstrip("-")
