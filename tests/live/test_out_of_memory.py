"""Processes that get no memory: each request is answered or its connection ends, none hangs."""

from __future__ import annotations

import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest

from tests.live.conftest import CONFIG
from tests.live.transfers import until
from tests.support.processes import family, kill_all
from tests.support.servers import RegistryServer
from tests.support.wire import Wire, sha256, with_query

pytestmark = pytest.mark.live

MIB = 1 << 20
CLIENTS = 16
ANSWERED = {200, 201, 202, 400, 404, 503}
"""400 and 404: what a refused push was to bring is missing."""


def limit(server: RegistryServer, more: int) -> None:
    """Let no process of a server have more than so many bytes of address space in addition."""
    for pid in server.pids():
        most = psutil.Process(pid).memory_info().vms + more
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))


def push_and_pull(server: RegistryServer, name: str) -> set[int]:
    """Push a blob and pull it, as far as that goes; return the statuses (0: the connection ended).

    Raises TimeoutError when there is neither an answer nor an end.
    """
    seen: set[int] = set()
    wire = Wire("127.0.0.1", server.port, timeout=15)
    content = os.urandom(3 * MIB)
    try:
        begun = wire.request("POST", f"/v2/{name}/blobs/uploads/")
        seen.add(begun.status)
        target = with_query(begun.header("Location"), f"digest={sha256(content)}")
        seen.add(wire.request("PUT", target, content).status)
        seen.add(wire.request("GET", f"/v2/{name}/blobs/{sha256(content)}").status)
    except TimeoutError:
        raise
    except (HTTPException, OSError):
        seen.add(0)
    return seen


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("more", [MIB, 20 * MIB])
def test_no_request_hangs_and_the_server_ends_when_told(
    tmp_path: Path, name: str, workers: int, more: int
) -> None:
    """16 concurrent clients, and room for `more` bytes: 503, or the end of the connection."""
    server = RegistryServer(tmp_path / "server", config=CONFIG, workers=workers).start()
    members = family(server.pids()[0])
    try:
        limit(server, more)
        with ThreadPoolExecutor(CLIENTS) as clients:
            names = [f"{name}/{number}" for number in range(4 * CLIENTS)]
            seen = set().union(*clients.map(lambda each: push_and_pull(server, each), names))
        assert seen <= ANSWERED | {0}, server.log
        until(lambda: 200 in answer_to_get(server), "it answers")
        os.kill(server.pids()[0], signal.SIGTERM)
        until(lambda: not any(one.is_running() for one in members[1:]), "the workers end")
    finally:
        kill_all(members)
        server.kill()


def answer_to_get(server: RegistryServer) -> set[int]:
    """Return the status of an answer to a request that needs little memory."""
    try:
        return {Wire("127.0.0.1", server.port, timeout=15).request("GET", "/v2/").status}
    except (HTTPException, ConnectionError):
        return set()


def test_a_server_starts_in_little_address_space(tmp_path: Path, name: str) -> None:
    """Threads that are made at the start leave room for requests."""
    with _Limited(tmp_path / "server", config=CONFIG) as server:
        assert push_and_pull(server, name) == {200, 201, 202}


class _Limited(RegistryServer):
    """A server whose processes have 128 MiB of address space."""

    def command(self) -> list[str]:
        """Limit the shell that becomes the server."""
        return ["sh", "-c", f'ulimit -v {128 << 10}; exec "$@"', "sh", *super().command()]
