"""A client certificate counts as long as it is valid, and no longer than its authorities."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from registry_server.config.schema import Tls
from registry_server.config.validation import validated
from registry_server.http.extensions import CERTIFICATE_NAME
from registry_server.serving.http1.connection import Connection
from registry_server.serving.http1.peers import Proof
from registry_server.serving.tls import ssl_context
from tests.http1.serving import Served, answer, served, until
from tests.support.certificates import Authority

SOON = timedelta(seconds=3)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a client; no status if the connection ended."""

    status: int | None
    head: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """A client that shows a certificate."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self) -> Answer:
        """Ask, and read the answer."""
        self.writer.write(GET)
        return await self.answer()

    async def answer(self) -> Answer:
        """Read an answer."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            return Answer(None, b"", b"")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return Answer(int(head.split()[1]), head.lower(), await self.reader.readexactly(length))

    async def is_ended(self) -> bool:
        """Tell whether nothing more comes."""
        return await self.reader.read(1) == b""


@dataclass(frozen=True, slots=True)
class Site:
    """A server that asks for certificates, and what it trusts."""

    server: Served
    authority: Authority

    @asynccontextmanager
    async def connected(self, certificate: Path) -> AsyncIterator[Peer]:
        """Connect as a client with this certificate."""
        context = await asyncio.to_thread(client_context, self.authority, certificate)
        opened = await asyncio.open_connection("127.0.0.1", self.server.port, ssl=context)
        try:
            yield Peer(*opened)
        finally:
            opened[1].transport.abort()


def settings(authority: Authority) -> Tls:
    """Describe TLS by the files of an authority."""
    own = authority.issue("server")
    trusted = authority.folder / f"{authority.name}.pem"
    return validated(Tls, {"certificate": own, "key": own, "clientcas": [trusted]})


def server_context(authority: Authority) -> ssl.SSLContext:
    """Build what is served with."""
    made = ssl_context.context(settings(authority))
    assert made is not None
    return made


def client_context(authority: Authority, certificate: Path) -> ssl.SSLContext:
    """Build what a client with this certificate connects with."""
    made = ssl.create_default_context(cafile=str(authority.folder / f"{authority.name}.pem"))
    made.load_cert_chain(certificate)
    return made


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Serve with client certificates; the answer is the name that the client has proved."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope[CERTIFICATE_NAME].encode())

    authority = await asyncio.to_thread(Authority.make, folder, "root")
    context = await asyncio.to_thread(server_context, authority)
    async with served(app, tls=context) as server:
        yield Site(server, authority)


def ends(certificate: Path) -> float:
    """Return when the first certificate of a file ends."""
    found = ssl._ssl._test_decode_cert(str(certificate))  # type: ignore[attr-defined]
    return float(ssl.cert_time_to_seconds(found["notAfter"]))


async def test_an_open_connection_ends_with_its_certificate(tmp_path: Path) -> None:
    """A request after that is refused, and the client may come back with a new certificate."""
    async with site(tmp_path) as made:
        file = await asyncio.to_thread(made.authority.issue, "ann", lasts=SOON)
        async with made.connected(file) as client:
            assert (await client.ask()).body == b"ann"
            await until(lambda: time.time() > ends(file), "it has expired")
            refused = await client.ask()
            assert refused.status == 403
            assert b"connection: close" in refused.head
            assert json.loads(refused.body)["errors"][0]["code"] == "DENIED"
            assert await client.is_ended()
        renewed = await asyncio.to_thread(made.authority.issue, "ann")
        async with made.connected(renewed) as client:
            assert (await client.ask()).body == b"ann"


async def test_an_open_connection_ends_with_an_authority_between(tmp_path: Path) -> None:
    """The certificate may last longer than that of its intermediate issuer."""
    async with site(tmp_path) as made:
        between = await asyncio.to_thread(made.authority.make_below, "between", SOON)
        file = await asyncio.to_thread(between.issue, "ann")
        chain = (tmp_path / "between.pem").read_bytes()
        file.write_bytes(file.read_bytes() + chain)
        async with made.connected(file) as client:
            assert (await client.ask()).body == b"ann"
            await until(lambda: time.time() > ends(tmp_path / "between.pem"), "it has expired")
            client.writer.write(GET.replace(b"GET", b"HEAD"))
            assert b" 403 " in await client.reader.readuntil(b"\r\n\r\n")
            assert await client.is_ended()


@pytest.mark.parametrize(("size", "is_served"), [(20_000, True), (25_000, False)])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_certificates_are_limited_in_bytes(
    version: str, size: int, is_served: bool, tmp_path: Path
) -> None:
    """Each costs the time to decode its key, even of an unused and untrusted certificate."""
    async with site(tmp_path) as made:
        file = await asyncio.to_thread(made.authority.issue, "ann")
        context = await asyncio.to_thread(client_context, made.authority, file)
        file.write_bytes(file.read_bytes() + unneeded(tmp_path / "root.pem", size))
        context.load_cert_chain(file)
        context.maximum_version = ssl.TLSVersion[version]
        try:
            asked = await asyncio.to_thread(_asked, made.server.port, context, None)
        except (ConnectionError, ssl.SSLError):
            assert not is_served
        else:
            assert (asked.status == b"200") is is_served


def unneeded(certificate: Path, size: int) -> bytes:
    """Return a certificate so often that it takes `size` bytes in a handshake, or a few less."""
    pem = certificate.read_text()
    return pem.encode() * (size // (len(ssl.PEM_cert_to_DER_cert(pem)) + 5))


async def test_a_request_that_began_in_time_is_answered(tmp_path: Path) -> None:
    """A long upload or download continues; the next request is refused."""
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await answer(send, b"done")

    authority = await asyncio.to_thread(Authority.make, tmp_path, "root")
    file = await asyncio.to_thread(authority.issue, "ann", lasts=SOON)
    context = await asyncio.to_thread(server_context, authority)
    async with (
        served(app, tls=context) as server,
        Site(server, authority).connected(file) as client,
    ):
        client.writer.write(GET + GET)
        await until(lambda: server.state.tasks, "the first is being answered")
        await until(lambda: time.time() > ends(file), "it has expired")
        go_on.set()
        assert (await client.answer()).body == b"done"
        assert (await client.answer()).status == 403


@pytest.mark.parametrize("stays", [True, False])
async def test_a_removed_authority_is_no_longer_trusted(stays: bool, tmp_path: Path) -> None:
    """Immediately on open connections; clients of the remaining authority get one more answer."""
    async with site(tmp_path) as made:
        file = await asyncio.to_thread(made.authority.issue, "ann")
        async with made.connected(file) as client:
            assert (await client.ask()).body == b"ann"
            other = await asyncio.to_thread(Authority.make, tmp_path, "other")
            context = await asyncio.to_thread(server_context, made.authority if stays else other)
            for found in made.server.state.connections:
                assert isinstance(found, Connection)
                found.config.ssl = context
                found.retire()
            last = await client.ask()
            assert last.status == (200 if stays else 403)
            assert b"connection: close" in last.head


async def test_a_resumed_session_ends_with_its_certificate(tmp_path: Path) -> None:
    """In TLS 1.2, where a client may come back without a handshake that would refuse it."""
    async with site(tmp_path) as made:
        file = await asyncio.to_thread(made.authority.issue, "ann", lasts=SOON)
        context = await asyncio.to_thread(client_context, made.authority, file)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        before = await asyncio.to_thread(_asked, made.server.port, context, None)
        assert before.status == b"200"
        again = await asyncio.to_thread(_asked, made.server.port, context, before.session)
        assert (again.status, again.is_resumed) == (b"200", True)
        await until(lambda: time.time() > ends(file), "it has expired")
        late = await asyncio.to_thread(_asked, made.server.port, context, before.session)
        assert (late.status, late.is_resumed) == (b"403", True)


@dataclass(frozen=True, slots=True)
class Visit:
    """The answer to a client, which may have sent a session, and its new session."""

    status: bytes
    session: ssl.SSLSession | None
    is_resumed: bool | None


def _asked(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> Visit:
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure:
        secure.sendall(GET)
        head = secure.recv(1000)
        return Visit(head[9:12], secure.session, secure.session_reused)


def test_no_session_of_tls_1_3_is_resumed_with_client_certificates(tmp_path: Path) -> None:
    """Each resumption would issue the next ticket, without verifying a certificate."""
    authority = Authority.make(tmp_path, "root")
    ours = server_context(authority)
    theirs = client_context(authority, authority.issue("ann"))
    ours.minimum_version = ssl.TLSVersion.TLSv1_3
    session: ssl.SSLSession | None = None
    for _ in range(3):
        client, server = _shaken(ours, theirs, session)
        assert not server.session_reused
        session = client.session


def _shaken(
    ours: ssl.SSLContext, theirs: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands over buffers, and say something, since sessions come with that."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = theirs.wrap_bio(down, up, server_hostname="127.0.0.1", session=session)
    server = ours.wrap_bio(up, down, server_side=True)
    waiting = [client, server, client, server, client]
    for each in waiting:
        try:
            each.do_handshake()
        except ssl.SSLWantReadError:
            continue
    server.write(b"x")
    assert client.read(1) == b"x"
    return client, server


moments = st.floats(-1e12, 1e12)


@given(begins=moments, ends=moments, now=moments)
def test_a_proof_holds_in_its_time(begins: float, ends: float, now: float) -> None:
    """Neither after its end nor, on a clock that was set back, before its beginning."""
    assert Proof("ann", begins, ends, b"").holds(now) is (begins <= now and now < ends)
