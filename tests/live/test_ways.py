"""The same bytes whichever way they go: plain, over a unix socket, encrypted, without a server.

The last two have none of the server's extensions.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from tests.live.programs import serving
from tests.live.sockets import Connection, head_of
from tests.support.certificates import certificate
from tests.support.wire import sha256

pytestmark = pytest.mark.live

CONTENT = random.Random(9).randbytes((5 << 20) + 11)
BLOBS = "/v2/live/ways/blobs"
# How a request is sent: method, target, Range or nothing, body; then status and body come back.
Ask: TypeAlias = Callable[[str, str, str | None, bytes | None], Awaitable[tuple[int, bytes]]]


async def assert_all_bytes_are_right(ask: Ask) -> None:
    """Push and pull through `ask`, on one connection where there is one."""
    for content in (CONTENT, b"", CONTENT[:140_000], CONTENT[: 1 << 20]):
        blob = f"{BLOBS}/{sha256(content)}"
        pushed = await ask("POST", f"{BLOBS}/uploads/?digest={sha256(content)}", None, content)
        assert pushed == (201, b"")
        assert await ask("GET", blob, None, None) == (200, content)
        assert await ask("HEAD", blob, None, None) == (200, b"")
    blob = f"{BLOBS}/{sha256(CONTENT)}"
    assert await ask("GET", blob, "bytes=5-3000000", None) == (206, CONTENT[5:3_000_001])
    assert await ask("GET", blob, "bytes=-7", None) == (206, CONTENT[-7:])
    status, body = await ask("GET", blob, "bytes=1-2,2000000-4000000", None)
    assert status == 206
    for part in (CONTENT[1:3], CONTENT[2_000_000:4_000_001]):
        assert b"\r\n\r\n" + part + b"\r\n--" in body
    assert await ask("GET", "/v2/", None, None) == (200, b"{}")


def asking(connection: Connection, *, chunked: bool) -> Ask:
    """Ask over a connection."""

    async def ask(
        method: str, target: str, wanted: str | None, body: bytes | None
    ) -> tuple[int, bytes]:
        head = f"{method} {target} HTTP/1.1" + (f"\nRange: {wanted}" if wanted else "")
        if body is None:
            connection.send(head_of(head))
        elif chunked:
            connection.send(head_of(f"{head}\nTransfer-Encoding: chunked"))
            for at in range(0, len(body), 700_001):
                chunk = body[at : at + 700_001]
                connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            connection.send(b"0\r\n\r\n")
        else:
            connection.send(head_of(f"{head}\nContent-Length: {len(body)}") + body)
        answer = connection.answer(method)
        return answer.status, answer.body

    return ask


@contextmanager
def plain(folder: Path) -> Iterator[Connection]:
    """Connect over TCP."""
    with served(folder, "{addr: '127.0.0.1:0', workers: 1}") as where:
        yield Connection.to(int(where.rpartition(":")[2]))


@contextmanager
def unix(folder: Path) -> Iterator[Connection]:
    """Connect over a unix socket."""
    with served(folder, f"{{net: unix, addr: {folder}/socket, workers: 1}}") as where:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(20)
        made.connect(where)
        yield Connection(made)


@contextmanager
def encrypted(folder: Path) -> Iterator[Connection]:
    """Connect over TLS."""
    made = certificate(folder)
    files = f"{{certificate: {made}, key: {folder}/key.pem}}"
    with served(folder, f"{{addr: '127.0.0.1:0', workers: 1, tls: {files}}}") as where:
        trusting = ssl.create_default_context(cafile=str(made))
        yield Connection.secure(int(where.rpartition(":")[2]), trusting)


@contextmanager
def served(folder: Path, http: str) -> Iterator[str]:
    """Serve with this `http` section; give where."""
    (folder / "root").mkdir()
    text = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/root}}}}\n"
    (folder / "config.yml").write_text(f"{text}http: {http}\n")
    with serving([str(folder / "config.yml")], folder) as server:
        yield server.where


@pytest.mark.parametrize("way", [plain, unix, encrypted])
async def test_over_a_socket(
    tmp_path: Path, way: Callable[[Path], AbstractContextManager[Connection]]
) -> None:
    """Both framings, one after the other on one connection."""
    with way(tmp_path) as connection, connection:
        for chunked in (False, True):
            await assert_all_bytes_are_right(asking(connection, chunked=chunked))


async def test_without_a_server(client: httpx.AsyncClient) -> None:
    """The application alone, as any other server would call it, over each driver."""

    async def ask(
        method: str, target: str, wanted: str | None, body: bytes | None
    ) -> tuple[int, bytes]:
        headers = {"Range": wanted} if wanted else {}
        answer = await client.request(method, target, headers=headers, content=body)
        return answer.status_code, answer.content

    await assert_all_bytes_are_right(ask)
