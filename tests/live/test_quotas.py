"""Quotas of a server that runs: no body is read in vain, and workers together stay below."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live.reloads import ReloadedServer
from tests.live.sockets import Connection, head_of
from tests.live.transfers import begin, until
from tests.support.servers import RegistryServer
from tests.support.tree import LAYOUT
from tests.support.wire import OCI_INDEX, sha256, with_query

pytestmark = pytest.mark.live

MB = 1_000_000
NAME = "team/app"


def limited(size: str, uploads: int = 0) -> dict[str, Any]:
    """Limit what a team may have."""
    entry = {"repositories": ["team/**"], "bytes": size, "uploads": uploads}
    return {"limits": {"repositories": [entry]}, "storage": {"delete": {"enabled": True}}}


def on_disk(server: RegistryServer, name: str = NAME) -> int:
    """Count what is there: members first, so that nothing that moves is counted twice."""
    tree = server.root / LAYOUT
    folder = tree / "repositories" / name
    members = {
        link.parent.name
        for part in ("_layers", "_manifests/revisions")
        for link in folder.glob(f"{part}/sha256/*/link")
    }
    blobs = [tree / "blobs/sha256" / hex[:2] / hex / "data" for hex in members]
    return sum(map(_size, [*blobs, *folder.glob("_uploads/*/data")]))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.fixture(params=[1, 2])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReloadedServer]:
    """Serve a team that has 10 MB."""
    with ReloadedServer(tmp_path / "server", limited("10MB"), request.param) as server:
        yield server


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
@pytest.mark.parametrize("expect", ["", "\nExpect: 100-continue"])
def test_what_is_announced_is_refused_before_it_is_read(
    server: ReloadedServer, method: str, expect: str
) -> None:
    """The head alone is answered: nothing of the body was sent, nor asked for."""
    digest = sha256(b"never sent")
    target = f"/v2/{NAME}/blobs/uploads/" if method == "POST" else begin(server, NAME)
    if method != "PATCH":
        target = with_query(target, f"digest={digest}")
    with Connection.to(server.port) as connection:
        head = f"{method} {target} HTTP/1.1\nContent-Length: {10 * MB + 1}{expect}"
        connection.send(head_of(head))
        answer = connection.answer()
    assert answer.status == 403
    assert b'"DENIED"' in answer.body
    assert b"repository team/app may hold 10 MB and holds 0 B: another 10 MB do not" in answer.body
    assert on_disk(server) == 0


def test_a_stream_is_cut(server: ReloadedServer) -> None:
    """It is answered before its end, though it has none; nothing of it stays, and the next fits."""
    target = begin(server, NAME)
    piece = b"%x\r\n" % (64 << 10) + os.urandom(64 << 10) + b"\r\n"
    sent = 0
    with Connection.to(server.port) as connection:
        connection.send(head_of(f"PATCH {target} HTTP/1.1\nTransfer-Encoding: chunked"))
        while not select.select([connection.socket], [], [], 0)[0]:
            assert sent < 200 * MB, "nobody said that it is too much"
            connection.send(piece)
            sent += 64 << 10
        answer = connection.answer()
    assert (answer.status, sent > 10 * MB) == (403, True)
    assert b"may hold 10 MB and holds 0 B" in answer.body
    until(lambda: on_disk(server) == 0, "what was cut off is gone")
    server.wire.expect(404, "GET", target)
    server.wire.push_blob(NAME, os.urandom(10 * MB))


@contextmanager
def watching(server: RegistryServer) -> Iterator[list[int]]:
    """Look all the time how much there is; yield what was seen."""
    seen: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.append(on_disk(server))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        ended.set()
        looking.join()


def test_workers_that_are_pushed_to_at_once_stay_below_together(tmp_path: Path) -> None:
    """In every way there is; and what was acknowledged is there."""
    with ReloadedServer(tmp_path / "server", limited("10MB"), workers=2) as server:
        others = [server.wire.push_blob("other", os.urandom(700_000)) for _ in range(4)]

        def push(at: int) -> int:
            content = os.urandom(500_000 + 50_000 * (at % 9))
            target = begin(server, NAME)
            halves = (content[: len(content) // 2], content[len(content) // 2 :])
            if at % 3 == 0:
                body: Any = iter(halves)
            elif at % 3 == 1:
                body = content
            else:
                answer = server.wire.request("PATCH", target, halves[0])
                if answer.status == 403:
                    return 0
                body = halves[1]
            try:
                answer = server.wire.request(
                    "PUT", with_query(target, f"digest={sha256(content)}"), body
                )
            except OSError:  # refused while it was sending
                return 0
            assert answer.status in (201, 403), answer
            if at % 4 == 0:
                mount = f"?mount={others[at % 4]}&from=other"
                done = server.wire.request("POST", f"/v2/{NAME}/blobs/uploads/{mount}")
                assert done.status in (201, 403)
            manifest = (
                b'{"schemaVersion":2,"mediaType":"%s","manifests":[],"annotations":{"n":"%d"}}'
            )
            document = manifest % (OCI_INDEX.encode(), at)
            put = {"Content-Type": OCI_INDEX}
            done = server.wire.request("PUT", f"/v2/{NAME}/manifests/v{at}", document, put)
            assert done.status in (201, 403)
            return len(content) if answer.status == 201 else 0

        with watching(server) as seen, ThreadPoolExecutor(8) as pool:
            acknowledged = sum(pool.map(push, range(40)))
        assert 0 < max(seen) <= 10 * MB
        assert acknowledged <= on_disk(server) <= 10 * MB
        assert on_disk(server) > 9 * MB


@pytest.mark.parametrize("workers", [1, 2])
def test_limits_change_with_a_reload(tmp_path: Path, workers: int) -> None:
    """To more, to less than there is, and to none; what is there is served all the while."""
    with ReloadedServer(tmp_path / "server", limited("1MB"), workers) as server:
        there = os.urandom(MB)
        digest = server.wire.push_blob(NAME, there)
        target = f"/v2/{NAME}/blobs/uploads/?digest={sha256(b'more')}"
        assert server.wire.request("POST", target, b"more").status == 403
        server.reload(limited("2MB"))
        server.wire.expect(201, "POST", target, b"more")
        server.reload(limited("500kB", uploads=1))
        other = f"/v2/{NAME}/blobs/uploads/?digest={sha256(b'other')}"
        assert (
            b"may hold 500 kB and holds 1 MB" in server.wire.request("POST", other, b"other").body
        )
        begin(server, NAME)
        busy = server.wire.expect(429, "POST", f"/v2/{NAME}/blobs/uploads/")
        assert int(busy.header("Retry-After")) >= 1
        assert server.wire.expect(200, "GET", f"/v2/{NAME}/blobs/{digest}").body == there
        server.reload({"limits": {}})
        server.wire.expect(201, "POST", other, b"other")


def test_a_killed_server_leaves_a_promise_that_is_in_nobodys_way(tmp_path: Path) -> None:
    """What a request announced no longer counts once its session is unlocked; what arrived does."""
    with ReloadedServer(tmp_path / "server", limited("10MB"), workers=2) as server:
        target = begin(server, NAME)
        content = os.urandom(9 * MB)
        with Connection.to(server.port) as connection:
            connection.send(head_of(f"PATCH {target} HTTP/1.1\nContent-Length: {len(content)}"))
            connection.send(content[: 3 * MB])
            until(lambda: on_disk(server) > MB, "some of it arrived")
            server.kill()
        server.start()
        held = on_disk(server)
        server.wire.push_blob(NAME, os.urandom(2 * MB))
        assert b"repository team/app may hold 10 MB" in _refused(server, 9 * MB)
        server.wire.expect(202, "PATCH", target, content[held : held + 1000])
        server.wire.expect(204, "DELETE", target)
        assert on_disk(server) == 2 * MB


def _refused(server: RegistryServer, size: int) -> bytes:
    content = os.urandom(size)
    target = f"/v2/{NAME}/blobs/uploads/?digest={sha256(content)}"
    return server.wire.expect(403, "POST", target, content).body
