"""Uploads through workers, crashes and clients that vanish: what was held is gone on with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.live.conftest import CONFIG
from tests.live.sockets import Connection, head_of
from tests.live.transfers import arrived, begin, finish, held, owner, start_patch, until
from tests.support.servers import RegistryServer
from tests.support.wire import sha256

pytestmark = pytest.mark.live

CONTENT = os.urandom(3_000_000)


def test_any_worker_goes_on_with_a_session(shared: RegistryServer, name: str) -> None:
    """Chunks over fresh connections, until each worker has taken several, make one blob."""
    path, sent = begin(shared, name), b""
    served: dict[int, int] = {}
    while len(served) < 2 or min(served.values()) < 3:
        assert len(sent) < 200, f"only {served} answered"
        with Connection.to(shared.port) as connection:
            chunk = bytes([len(sent)])
            bounds = f"Content-Range: {len(sent)}-{len(sent)}"
            assert connection.ask(f"PATCH {path} HTTP/1.1\n{bounds}", chunk).status == 202
            pid = owner(shared, connection)
            served[pid] = served.get(pid, 0) + 1
        sent += chunk
    finish(shared, path, sent, held(shared, path))


def test_a_killed_server_goes_on_where_it_was(server: RegistryServer, name: str) -> None:
    """After SIGKILL in the middle of a chunk the status says what is held, and that is right."""
    path = begin(server, name)
    assert server.wire.request("PATCH", path, CONTENT[:100_000]).status == 202
    with start_patch(server, path, CONTENT[100_000:], 2_500_000):
        until(lambda: held(server, path) > 100_000, "some of the chunk was written")
        server.kill()
    server.start()
    done = held(server, path)
    assert 100_000 < done <= 2_600_000
    finish(server, path, CONTENT, done)


def test_a_killed_server_keeps_what_it_acknowledged(server: RegistryServer, name: str) -> None:
    """A chunk answered with 202 and a blob answered with 201 outlive SIGKILL."""
    path = begin(server, name)
    assert server.wire.request("PATCH", path, CONTENT[:1000]).status == 202
    digest = server.wire.push_blob(name, b"acknowledged")
    server.kill()
    server.start()
    assert server.wire.request("GET", f"/v2/{name}/blobs/{digest}").body == b"acknowledged"
    assert held(server, path) == 1000
    finish(server, path, CONTENT, 1000)


def test_one_killed_worker_is_replaced(server: RegistryServer, name: str) -> None:
    """When one worker dies in the middle of a chunk, another goes on with the session."""
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 2_500_000) as connection:
        until(lambda: held(server, path) > 1, "some of the chunk was written")
        os.kill(owner(server, connection), 9)
        with pytest.raises((ConnectionError, AssertionError)):
            connection.answer()
    done = held(server, path)
    finish(server, path, CONTENT, done)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_vanished_client_leaves_exactly_what_it_sent(
    shared: RegistryServer, name: str, chunked: bool, reset: bool
) -> None:
    """Once the server noticed, Range covers each byte that was sent, and no other."""
    path = begin(shared, name)
    connection = Connection.to(shared.port)
    if chunked:
        connection.send(head_of(f"PATCH {path} HTTP/1.1\nTransfer-Encoding: chunked"))
        connection.send(f"{1_234_567:x}\r\n".encode() + CONTENT[:1_234_567] + b"\r\n10\r\n")
    else:
        connection.send(head_of(f"PATCH {path} HTTP/1.1\nContent-Length: {len(CONTENT)}"))
        connection.send(CONTENT[:1_234_567])
    until(lambda: arrived(shared, path), "the chunk began to arrive")
    connection.vanish() if reset else connection.close()
    until(lambda: not arrived(shared, path), "the server noticed")
    if reset:  # what the kernel had not handed over yet went with the connection
        assert held(shared, path) <= 1_234_567
    else:
        assert held(shared, path) == 1_234_567
    finish(shared, path, CONTENT, held(shared, path))


def test_a_client_that_comes_back_at_once(shared: RegistryServer, name: str) -> None:
    """The old request may not have been noticed to be dead: the new one waits for it."""
    path = begin(shared, name)
    with start_patch(shared, path, CONTENT, 1_000_000):
        until(lambda: arrived(shared, path), "the chunk began to arrive")
    answer = shared.wire.expect(202, "PATCH", path, b"")
    done = int(answer.header("Range").removeprefix("0-")) + 1
    finish(shared, path, CONTENT, done)


def test_two_writers_of_one_session(shared: RegistryServer, name: str) -> None:
    """While one request writes, another is told to wait with 409, and nothing is mixed."""
    path = begin(shared, name)
    with start_patch(shared, path, CONTENT, 1_000_000) as connection:
        until(lambda: arrived(shared, path), "the chunk began to arrive")
        answer = shared.wire.request("PATCH", path, b"another writer")
        assert answer.status == 409
        connection.send(CONTENT[1_000_000:])
        assert connection.answer().status == 202
    finish(shared, path, CONTENT, len(CONTENT))


def test_two_servers_on_one_root(server: RegistryServer, tmp_path: Path, name: str) -> None:
    """A session begun at one is finished at the other; what one deletes is gone at both."""
    with RegistryServer(tmp_path / "other", root=server.root, config=CONFIG) as other:
        path = begin(server, name)
        server.wire.expect(202, "PATCH", path, CONTENT[:1000])
        assert held(other, path) == 1000
        other.wire.expect(202, "PATCH", path, CONTENT[1000:2000])
        finish(server, path, CONTENT[:2000], 2000)
        blob = f"/v2/{name}/blobs/{sha256(CONTENT[:2000])}"
        other.wire.expect(200, "GET", blob)
        index = b'{"schemaVersion":2,"manifests":[]}'
        target = f"/v2/{name}/manifests/v1"
        for one, two in ((server, other), (other, server)):
            one.wire.expect(201, "PUT", target, index)
            assert two.wire.expect(200, "GET", target).body == index
            two.wire.expect(202, "DELETE", f"/v2/{name}/manifests/{sha256(index)}")
            one.wire.expect(404, "GET", target)
        server.wire.expect(202, "DELETE", blob)
        other.wire.expect(404, "GET", blob)


def test_a_vanished_single_post_leaves_no_session(shared: RegistryServer, name: str) -> None:
    """A client that leaves during a single POST has no Location to go on with: nothing is kept."""
    target = f"/v2/{name}/blobs/uploads/?digest={sha256(CONTENT)}"
    with Connection.to(shared.port) as connection:
        connection.send(head_of(f"POST {target} HTTP/1.1\nContent-Length: {len(CONTENT)}"))
        connection.send(CONTENT[:1_000_000])
        folder = shared.upload_folder(name, "x").parent
        until(lambda: folder.is_dir() and any(folder.iterdir()), "a session was made")
    until(lambda: not any(folder.iterdir()), "it was dropped")


def test_a_digest_in_the_location_is_kept(shared: RegistryServer, name: str) -> None:
    """Finishing over a fresh connection after the status answered, as clients resume."""
    path = begin(shared, name)
    start_patch(shared, path, CONTENT, 777_777).close()
    until(lambda: held(shared, path) == 777_777, "all that was sent is held")
    location = shared.wire.expect(204, "GET", path).header("Location")
    assert location == f"{shared.url}{path}?_state=at.777777"
    finish(shared, location, CONTENT, 777_777)
