"""TLS in records that are as small as can be: they are read in turns, and all of them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from registry_server.serving.tls import plain_http
from registry_server.serving.tls.records import begin_turn
from tests.http1.serving import answer, events, served
from tests.http1.test_connection import head
from tests.support.certificates import certificate
from tests.support.key_updates import KeyRenewingClient

pytestmark = pytest.mark.disk

MOST = 256
BODY = b"one record for each byte " * 200


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make what a server and its client shake hands with."""
    file = certificate(folder)
    ours = plain_http.Context(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(file, file.with_name("key.pem"))
    return ours, ssl.create_default_context(cafile=str(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Give contexts for all tests of the module."""
    return contexts(tmp_path_factory.mktemp("tls"))


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.sampled_from([1, 2, 100, 16384]), min_size=1, max_size=700))
def test_records_per_turn_are_limited(
    made: tuple[ssl.SSLContext, ssl.SSLContext], sizes: list[int]
) -> None:
    """For any content; the remaining records are read in later turns, in order."""
    ours, theirs = made
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = theirs.wrap_bio(down, up, server_hostname="127.0.0.1")
    server = ours.wrap_bio(up, down, server_side=True)
    for each in (client, server, client, server):
        try:
            each.do_handshake()
        except ssl.SSLWantReadError:
            continue
    sent = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    for record in sent:
        client.write(record)
    read: list[bytes] = []
    for _ in range(len(sent) // MOST + 2):
        begin_turn(server)
        turn = _turn(server)
        assert len(turn) <= MOST
        read += turn
    assert b"".join(read) == b"".join(sent)


def _turn(server: ssl.SSLObject) -> list[bytes]:
    """Read as an event loop does: until there is nothing more."""
    read = []
    try:
        while True:
            read.append(server.read(256 << 10))
    except ssl.SSLWantReadError:
        return read


def test_no_more_is_read_behind_many_records_without_content(
    made: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Such records are KeyUpdates: nine thousand fit into what a loop receives at once."""
    client, server, up = _shaken(made[0])
    for _ in range(1000):
        client.renew_keys()
    client.write(BODY)
    with pytest.raises(ssl.SSLError, match="without content"):
        server.read(256 << 10)
    assert up.pending > len(BODY)


def test_a_client_may_renew_its_keys_between_records(
    made: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Also several times in a row, and in every turn."""
    client, server, _ = _shaken(made[0])
    sent = [b"%d" % number for number in range(100)]
    for number, record in enumerate(sent):
        for _ in range(number % 16):
            client.renew_keys()
        client.write(record)
    read: list[bytes] = []
    while len(read) < len(sent):
        begin_turn(server)
        turn = _turn(server)
        assert turn
        read += turn
    assert read == sent


def test_few_records_without_content_are_read_in_a_turn(
    made: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Each takes as long as many others, also between records that have some."""
    client, server, up = _shaken(made[0])
    for _ in range(100):
        for _ in range(10):
            client.renew_keys()
        client.write(b"x")
    before = up.pending
    begin_turn(server)
    assert 0 < len(_turn(server)) <= 2
    assert up.pending > before * 9 // 10


@pytest.mark.parametrize("sent", [b"PATCH /v2/ HTTP/1.1\r\n\r\n", b"\0" * 6])
def test_bytes_that_are_not_tls_are_refused_before_a_record_is_complete(
    made: tuple[ssl.SSLContext, ssl.SSLContext], sent: bytes
) -> None:
    """The bytes in place of the length may announce more than will ever arrive."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = made[0].wrap_bio(up, down, server_side=True)
    up.write(sent)
    with pytest.raises(ssl.SSLError) as raised:
        server.do_handshake()
    assert not isinstance(raised.value, ssl.SSLWantReadError)


def test_a_handshake_may_come_in_records_of_one_byte(
    made: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Its sender waits for an answer, so a part that was left for later would be left for good."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = made[0].wrap_bio(up, down, server_side=True)
    hello = _hello(size=1000)
    up.write(b"".join(b"\x16\x03\x01\0\x01%c" % byte for byte in hello))
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    assert down.pending


def test_a_handshake_in_thousands_of_records_is_refused(
    made: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """What waits for more would wait until the handshake's timeout."""
    up = ssl.MemoryBIO()
    server = made[0].wrap_bio(up, ssl.MemoryBIO(), server_side=True)
    hello = b"\x01\0\xff\xff\x03\x03".ljust(9000)
    up.write(b"".join(b"\x16\x03\x01\0\x01%c" % byte for byte in hello))
    with pytest.raises(ssl.SSLError, match="too many records"):
        server.do_handshake()
    assert up.pending


def _hello(size: int) -> bytes:
    """Return the first message of a client, which has at least so many bytes."""
    sent = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["x" * 100] * (size // 100))
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="127.0.0.1")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()[5:]


def _shaken(ours: ssl.SSLContext) -> tuple[KeyRenewingClient, ssl.SSLObject, ssl.MemoryBIO]:
    """Return both sides of a connection, and what the server receives by."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = KeyRenewingClient(up, down), ours.wrap_bio(up, down, server_side=True)
    while not client.do_handshake():
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
    server.do_handshake()
    return client, server, up


@pytest.mark.parametrize("path", ["/events", "/ignored"])
@pytest.mark.parametrize("framing", [f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"])
async def test_a_body_of_tiny_records_arrives(path: str, framing: str, tmp_path: Path) -> None:
    """No record is left behind when a turn ends, and the next request is answered."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        read = [each async for each in events(receive)] if scope["path"] == "/events" else []
        await answer(send, b"".join(read))

    body = BODY if "Length" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    ours, theirs = await asyncio.to_thread(contexts, tmp_path)
    async with served(app, tls=ours) as server:
        sent = head(path, framing) + body + head("/last", "Connection: close")
        said = await asyncio.to_thread(_dripped, server.port, theirs, sent)
    assert said.count(b"HTTP/1.1 200") == 2
    assert (BODY in said) is (path == "/events")


def _dripped(port: int, context: ssl.SSLContext, sent: bytes) -> bytes:
    """Send each byte in a record of its own; return what is answered."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        for byte in sent:
            secure.send(bytes([byte]))
        said = b""
        while more := secure.recv(1 << 16):
            said += more
        return said
