"""The management API with several workers, and its log."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.api.managed import ANN, AS_ANN, ROBOTS, basic, create, key_of, managed
from tests.live.programs import run
from tests.support.servers import PROJECT, RegistryServer

pytestmark = pytest.mark.live

WORKERS = 2
CONNECTIONS = 16


class Connections:
    """Persistent connections, spread over the workers."""

    def __init__(self, server: RegistryServer) -> None:
        self._all = [
            HTTPConnection("127.0.0.1", server.port, timeout=30) for _ in range(CONNECTIONS)
        ]

    def statuses(self, shown: dict[str, str], path: str = "/v2/") -> set[int]:
        """Send a request on each connection; return the statuses."""
        found = set()
        for each in self._all:
            each.request("GET", path, headers=shown)
            answer = each.getresponse()
            answer.read()
            found.add(answer.status)
        return found

    def close(self) -> None:
        """Close them."""
        for each in self._all:
            each.close()


def started(folder: Path, workers: int = WORKERS) -> RegistryServer:
    """Start a server with administrators."""
    return RegistryServer(folder, config=json.dumps(managed(folder)), workers=workers)


def test_no_robot_is_lost_when_many_are_created_concurrently(tmp_path: Path) -> None:
    """By requests to two workers and by the command, in one file."""
    with started(tmp_path) as server:
        begin = threading.Barrier(9)

        def make(client: int) -> None:
            begin.wait()
            for at in range(5):
                create(server, {"name": f"api-{client}-{at}"})

        def command() -> None:
            begin.wait()
            for at in range(3):
                arguments = ["robots", "create", f"command-{at}", "--root", str(server.root)]
                assert run(arguments, tmp_path, {}).returncode == 0

        with ThreadPoolExecutor(9) as pool:
            tasks = [pool.submit(make, client) for client in range(8)]
            tasks.append(pool.submit(command))
            for each in tasks:
                each.result()
        listed = json.loads(server.wire.expect(200, "GET", ROBOTS, headers=AS_ANN).body)
    names = {f"api-{client}-{at}" for client in range(8) for at in range(5)}
    names |= {f"command-{at}" for at in range(3)}
    assert [each["name"] for each in listed["robots"]] == sorted(names)


def test_a_key_is_valid_in_every_worker_until_it_is_revoked(tmp_path: Path) -> None:
    """No worker refuses a new key or accepts a revoked one, not even for a second."""
    with started(tmp_path) as server, closing(Connections(server)) as connections:
        assert connections.statuses(AS_ANN) == {200}
        for _ in range(5):
            shown = basic("robot$ci", key_of(create(server, {"name": "ci"})))
            assert connections.statuses(shown) == {200}
            asked = server.wire.expect(200, "GET", "/auth/token", headers=shown)
            token = {"Authorization": f"Bearer {json.loads(asked.body)['token']}"}
            assert connections.statuses(token) == {200}
            server.wire.expect(204, "DELETE", f"{ROBOTS}/ci", headers=AS_ANN)
            assert connections.statuses(shown) == {401}
            assert connections.statuses(token) == {401}


def test_an_expired_key_is_refused_by_every_worker(tmp_path: Path) -> None:
    """From the second on that the response named."""
    with started(tmp_path) as server, closing(Connections(server)) as connections:
        made = create(server, {"name": "ci", "expires": "2s"})
        shown = basic("robot$ci", key_of(made))
        robot = {"expired": False}
        while not robot["expired"]:
            answer = server.wire.expect(200, "GET", f"{ROBOTS}/ci", headers=AS_ANN)
            robot = json.loads(answer.body)
        assert connections.statuses(shown) == {401}


def test_no_secret_is_in_any_log(tmp_path: Path) -> None:
    """Neither the key nor the administrator's password, at any log level."""
    folder, more = tmp_path, {"log": {"level": "debug"}, "audit": {"enabled": True}}
    config = json.dumps(managed(folder, **more))
    with RegistryServer(folder, config=config, workers=1) as server:
        key = key_of(create(server, {"name": "ci", "description": "for builds"}))
        create(server, {"name": "ci"}, 409)
        create(server, {"name": "ci", "key": key}, 400)
        for secret in (key, "not it"):
            server.wire.request("GET", "/v2/", headers=basic("robot$ci", secret))
            server.wire.request("GET", ROBOTS, headers=basic("robot$ci", secret))
    assert f"method=POST path={ROBOTS} status=201" in server.log
    assert "create robot allowed" in server.log
    for secret in (key, key[3:], ANN, *(value for value in AS_ANN.values())):
        assert secret not in server.log


def test_a_response_to_head_has_no_body(tmp_path: Path) -> None:
    """The connection can be used for the next request."""
    with started(tmp_path, workers=1) as server:
        create(server, {"name": "ci"})
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
            connection.request("HEAD", f"{ROBOTS}/ci", headers=AS_ANN)
            head = connection.getresponse()
            assert (head.status, head.read()) == (200, b"")
            connection.request("GET", f"{ROBOTS}/ci", headers=AS_ANN)
            answer = connection.getresponse()
            assert len(answer.read()) == int(head.headers["Content-Length"])


@pytest.mark.parametrize(("shown", "status"), [({}, 401), (AS_ANN, 413)])
def test_a_refused_client_is_not_asked_for_a_body(
    tmp_path: Path, shown: dict[str, str], status: int
) -> None:
    """Of other bodies, no more is read than a robot needs."""
    with (
        started(tmp_path, workers=1) as server,
        closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection,
    ):
        connection.putrequest("POST", ROBOTS)
        headers = {
            **shown,
            "Content-Type": "application/json",
            "Content-Length": str(1 << 30),
            "Expect": "100-continue",
        }
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        # A client would skip an interim response; there must be none.
        assert connection.sock.recv(12) == f"HTTP/1.1 {status}".encode()


WITHOUT_RULES = """
import sys
from registry_server.wiring.app import build
from registry_server.config import Settings
from storage.drivers.memory import MemoryDriver
build(Settings(), MemoryDriver())
print(sorted(name for name in sys.modules if name.startswith("registry_server.api")))
"""


def test_the_api_is_not_imported_without_rules() -> None:
    """A registry without rules imports only its paths and errors, which are a few lines."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RULES], cwd=PROJECT, capture_output=True, check=True
    )
    known = ["registry_server.api", "registry_server.api.paths"]
    assert done.stdout.decode().strip() == str(known)
