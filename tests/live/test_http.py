"""HTTP as it arrives: pipelined, interrupted, oversized, malformed, old."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import pytest

from tests.live.sockets import Connection, head_of
from tests.support.servers import RegistryServer
from tests.support.wire import Answer, path_of, sha256

pytestmark = pytest.mark.live

Connect: TypeAlias = Callable[[], Connection]
ID = "01234567-89ab-4def-8123-456789abcdef"


def code(answer: Answer) -> str:
    """Return the code of a refusal, whose shape is looked at too."""
    assert answer.header("Content-Type") == "application/json"
    assert answer.header("Docker-Distribution-Api-Version") == "registry/2.0"
    (error,) = json.loads(answer.body)["errors"]
    assert error["message"]
    return str(error["code"])


def upload_path(shared: RegistryServer, name: str) -> str:
    """Begin an upload; return its path."""
    begun = shared.wire.expect(202, "POST", f"/v2/{name}/blobs/uploads/")
    return path_of(begun.header("Location"))


def test_a_connection_is_kept(connect: Connect) -> None:
    """One request after the other on one connection."""
    connection = connect()
    for target, status in (("/v2/", 200), ("/v2/x", 404), ("/v2/_catalog", 200)):
        assert connection.ask(f"GET {target} HTTP/1.1").status == status


def test_a_connection_is_closed_when_asked(connect: Connect) -> None:
    """`Connection: close` is honoured."""
    connection = connect()
    assert connection.ask("GET /v2/ HTTP/1.1\nConnection: close").status == 200
    assert connection.is_closed()


def test_pipelined_requests_are_answered_in_order(
    shared: RegistryServer, connect: Connect, name: str
) -> None:
    """Requests sent without waiting, bodies among them, are answered one by one."""
    content = b"pipelined " * 30_000
    path = upload_path(shared, name)
    patch = head_of(f"PATCH {path} HTTP/1.1\nContent-Length: {len(content)}") + content
    put = head_of(f"PUT {path}?digest={sha256(content)} HTTP/1.1\nContent-Length: 0")
    blob = f"/v2/{name}/blobs/{sha256(content)}"
    connection = connect()
    connection.send(
        head_of("GET /v2/ HTTP/1.1") + patch + put + head_of(f"HEAD {blob} HTTP/1.1")
        + head_of(f"GET {blob} HTTP/1.1") + head_of("GET /v2/nothing HTTP/1.1")
    )  # fmt: skip
    methods = ("GET", "PATCH", "PUT", "HEAD", "GET", "GET")
    answers = [connection.answer(method) for method in methods]
    assert [answer.status for answer in answers] == [200, 202, 201, 200, 200, 404]
    assert answers[4].body == content


def test_a_request_in_single_bytes(connect: Connect) -> None:
    """However the head is cut into packets."""
    connection = connect()
    for byte in head_of("GET /v2/ HTTP/1.1"):
        connection.send(bytes([byte]))
    assert connection.answer().status == 200


def test_the_server_asks_for_a_body_it_wants(
    shared: RegistryServer, connect: Connect, name: str
) -> None:
    """`Expect: 100-continue`: the interim answer comes before the body is sent."""
    path = upload_path(shared, name)
    connection = connect()
    head = f"PATCH {path} HTTP/1.1\nExpect: 100-continue\nContent-Length: 5"
    connection.send(head_of(head))
    assert connection.answer().status == 100
    connection.send(b"bytes")
    answer = connection.answer()
    assert (answer.status, answer.header("Range")) == (202, "0-4")


@pytest.mark.parametrize(
    ("request_line", "status", "expected"),
    [
        (f"PATCH /v2/app/blobs/uploads/{ID} HTTP/1.1", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PATCH /v2/Upper/blobs/uploads/x HTTP/1.1", 400, "NAME_INVALID"),
        (f"PUT /v2/app/blobs/uploads/{ID}?digest=md5:0 HTTP/1.1", 400, "DIGEST_INVALID"),
        ("PUT /v2/app/manifests/-v1 HTTP/1.1", 400, "TAG_INVALID"),
        ("PUT /v2/app/manifests/v1 HTTP/1.1", 413, "SIZE_INVALID"),
        ("POST /v2/_catalog HTTP/1.1", 405, "UNSUPPORTED"),
    ],
)
def test_a_refusal_comes_before_the_body(
    connect: Connect, request_line: str, status: int, expected: str
) -> None:
    """A client that sent `Expect` is refused immediately, and need not send the body."""
    connection = connect()
    connection.send(head_of(f"{request_line}\nExpect: 100-continue\nContent-Length: 9000000"))
    answer = connection.answer()
    assert (answer.status, code(answer)) == (status, expected)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("PUT", "/v2/app/manifests/v1", 413),
        ("PATCH", f"/v2/app/blobs/uploads/{ID}", 404),
        ("PUT", "/v2/app/manifests/-v1", 400),
        ("POST", "/v2/", 405),
        ("GET", "/v2/", 200),
    ],
)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_was_not_read_does_not_spoil_the_connection(
    connect: Connect, method: str, target: str, status: int, chunked: bool
) -> None:
    """After an answer to a request whose body was not wanted, the next one works."""
    body = b"G" * 6_000_000
    connection = connect()
    if chunked:
        connection.send(head_of(f"{method} {target} HTTP/1.1\nTransfer-Encoding: chunked"))
        connection.send(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        assert connection.answer(method).status == status
    else:
        assert connection.ask(f"{method} {target} HTTP/1.1", body).status == status
    assert connection.ask("GET /v2/ HTTP/1.1").status == 200


@pytest.mark.parametrize(
    "head",
    [
        "GET /v2/ HTTP/1.1\nX: " + "x" * 100_000,
        "GET /v2/ HTTP/1.1\n" + "\n".join(f"X-{n}: {'x' * 90}" for n in range(1500)),
        "GET /v2/?q=" + "x" * 100_000 + " HTTP/1.1",
        "GET /v2/" + "x" * 100_000 + "/tags/list HTTP/1.1",
        "GET /v2/ HTTP/1.1\n" + "x" * 100_000 + ": y",
        "GET /v2/ HTTP/1.1\n" + "\n".join(["X: y"] * 200),
        "GET /v2/ HTTP/1.1\n" + "\n".join(["x:"] * 16_000),
    ],
)
def test_a_head_that_is_too_large(connect: Connect, head: str) -> None:
    """Headers or a URL that are too long: 431 or 414 in the envelope, then the end."""
    connection = connect()
    with suppress(ConnectionError):  # the server may have seen enough before all is sent
        connection.send(head_of(head))
    answer = connection.answer()
    assert answer.status in {414, 431}
    assert code(answer) == "UNSUPPORTED"
    with suppress(ConnectionResetError):  # so a kernel ends a connection with bytes left to read
        assert connection.is_closed()


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /v2/ HTTP/1.1\r\nX: ",
        b"GET /",
        b"G",
        b"GET /v2/ HTTP/1.1\r\n",
        b"GET /v2/ HTTP/1.1\r\nX",
    ],
)
def test_a_head_that_never_ends(connect: Connect, beginning: bytes) -> None:
    """A line without an end is given up on, long before it fills the memory."""
    connection = connect()
    connection.send(beginning)
    sent = 0
    with suppress(ConnectionResetError, BrokenPipeError):
        while sent < 4 << 20:
            connection.send(b"x" * 4096)
            sent += 4096
    assert sent < 4 << 20


def test_headers_of_a_usual_size_are_fine(connect: Connect) -> None:
    """A token of 16 KiB and a URL of 8 KiB are no attack."""
    token = "t" * 16_384
    query = "q" * 8_192
    assert connect().ask(f"GET /v2/?{query} HTTP/1.1\nAuthorization: {token}").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v2/ HTTP/x.y\r\n\r\n",
        b"GET /v2/ HTTQ/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nBad\x00Name: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"BREW /v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET v2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100 + b"\r\n\r\n",
        b"\x00" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_http_is_400(connect: Connect, sent: bytes) -> None:
    """The envelope, and the connection is over: nothing after it can be understood."""
    connection = connect()
    connection.send(sent)
    answer = connection.answer()
    assert (answer.status, code(answer)) == (400, "UNSUPPORTED")
    assert connection.is_closed()


@pytest.mark.parametrize(
    "chunks", [b"xyz\r\n", b"-1\r\n", b"5\r\nab\r\n0\r\n\r\n", b"5 5\r\nabcde"]
)
def test_a_chunked_body_that_is_none(
    shared: RegistryServer, connect: Connect, name: str, chunks: bytes
) -> None:
    """A framing error ends the connection; the session is still there, without the rubbish."""
    path = upload_path(shared, name)
    connection = connect()
    connection.send(head_of(f"PATCH {path} HTTP/1.1\nTransfer-Encoding: chunked") + chunks)
    assert connection.answer().status == 400
    assert shared.wire.request("GET", path).status == 204


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://registry/v2/", 200),
        ("http://elsewhere.example.com:81/v2/", 200),
        ("https://registry/v2/_catalog?n=1", 200),
        ("http://registry/v2/nothing", 404),
        ("//registry/v2/", 301),
        ("/v2/?x=http://a/b", 200),
        ("/v2/%2e%2e/v2/", 301),
        ("/v2/../v2/", 301),
        ("/../v2/", 301),
        ("/v2//", 301),
        ("//v2/", 301),
        ("http://elsewhere.example.com//v2/", 301),
    ],
)
def test_forms_of_a_target(connect: Connect, target: str, status: int) -> None:
    """The absolute form means its path; dots and double slashes are redirected."""
    assert connect().ask(f"GET {target} HTTP/1.1").status == status


@pytest.mark.parametrize("head", ["OPTIONS * HTTP/1.1", "CONNECT registry:5000 HTTP/1.1",
                                  "GET * HTTP/1.1"])  # fmt: skip
def test_targets_that_are_no_path(connect: Connect, head: str) -> None:
    """`*` and host:port are refused, and the server goes on."""
    answer = connect().ask(head)
    assert 400 <= answer.status < 500
    assert json.loads(answer.body)["errors"]


@pytest.mark.parametrize(
    "host",
    ["", "evil.example.com", "a/v2/_catalog", "registry/../x", "[::1]:5000", "a:b:c", "%2f", "a b",
     "\xe9", "x" * 5000, "evil/v2/other/blobs/?#"],
)  # fmt: skip
def test_a_host_header_does_not_change_the_route(connect: Connect, host: str) -> None:
    """Whatever the caller says the host is, the path decides (CVE-2026-48710)."""
    connection = connect()
    request = f"GET /v2/no/such/tags/list HTTP/1.1\r\nHost: {host}\r\n\r\n"
    connection.send(request.encode("latin-1"))
    answer = connection.answer()
    assert (answer.status, code(answer)) in {(404, "NAME_UNKNOWN"), (400, "UNSUPPORTED")}
    if answer.status == 404:
        assert json.loads(answer.body)["errors"][0]["detail"] == {"name": "no/such"}


def test_a_relative_location_ignores_the_host(connect: Connect, name: str) -> None:
    """A push is not led astray by a Host header."""
    connection = connect()
    connection.send(
        f"POST /v2/{name}/blobs/uploads/ HTTP/1.1\r\nHost: evil.example.com\r\n"
        "Content-Length: 0\r\nX-Forwarded-Host: worse.example.com\r\n\r\n".encode()
    )
    assert connection.answer().header("Location").startswith(f"/v2/{name}/blobs/uploads/")


def test_http_1_0(connect: Connect) -> None:
    """An old client gets its answer and the end of the connection."""
    connection = connect()
    connection.send(b"GET /v2/ HTTP/1.0\r\n\r\n")
    answer = connection.answer()
    assert (answer.status, answer.body) == (200, b"{}")
    assert connection.is_closed()


def test_http_1_0_pushes(shared: RegistryServer, connect: Connect, name: str) -> None:
    """Uploads work there too, with a Content-Length."""
    connection = connect()
    target = f"/v2/{name}/blobs/uploads/?digest={sha256(b'old')}"
    connection.send(f"POST {target} HTTP/1.0\r\nContent-Length: 3\r\n\r\nold".encode())
    assert connection.answer().status == 201


def test_an_upgrade_that_is_not_offered_is_ignored(
    shared: RegistryServer, connect: Connect, name: str
) -> None:
    """curl's offer of HTTP/2 in clear, with a body and without, is answered over HTTP/1.1."""
    upgrade = "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk"
    target = f"/v2/{name}/blobs/uploads/?digest={sha256(b'upgraded')}"
    connection = connect()
    assert connection.ask(f"GET /v2/ HTTP/1.1\n{upgrade}").status == 200
    assert connection.ask("GET /v2/ HTTP/1.1").status == 200
    assert connect().ask(f"POST {target} HTTP/1.1\n{upgrade}", b"upgraded").status == 201


def test_the_server_says_nothing_of_its_software(connect: Connect) -> None:
    """No Server header shows which known vulnerabilities apply."""
    assert connect().ask("GET /v2/ HTTP/1.1").headers["Server"] is None


@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: b\r\n"])
def test_http_1_1_wants_one_host(connect: Connect, hosts: str) -> None:
    """None and two are refused (RFC 9112 section 3.2), as registry:2 does."""
    connection = connect()
    connection.send(f"GET /v2/ HTTP/1.1\r\n{hosts}\r\n".encode())
    answer = connection.answer()
    assert (answer.status, code(answer)) == (400, "UNSUPPORTED")
    assert connection.is_closed()


def test_a_coding_that_would_be_stored_as_content_is_refused(
    shared: RegistryServer, connect: Connect, name: str
) -> None:
    """A compressed transfer is not taken for the bytes of a blob."""
    path = upload_path(shared, name)
    connection = connect()
    connection.send(head_of(f"PATCH {path} HTTP/1.1\nTransfer-Encoding: gzip, chunked"))
    assert connection.answer("PATCH").status == 400
    assert shared.wire.expect(204, "GET", path).header("Range") == "0-0"


def test_an_upgrade_is_ignored_on_every_request_of_a_connection(connect: Connect) -> None:
    """Clients that offer h2c do so each time."""
    connection = connect()
    for _ in range(3):
        offer = "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk"
        assert connection.ask(f"GET /v2/ HTTP/1.1\n{offer}").status == 200


def test_an_upgrade_in_a_body_is_content(
    shared: RegistryServer, connect: Connect, name: str
) -> None:
    """Wherever the packets end, what looks like a header in a blob stays as it is."""
    content = b"x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" * 3
    target = f"/v2/{name}/blobs/uploads/?digest={sha256(content)}"
    head = head_of(f"POST {target} HTTP/1.1\nContent-Length: {len(content)}")
    for cut in range(len(head) - 4, len(head) + 4):
        connection = connect()
        sent = head + content
        connection.send(sent[:cut])
        connection.send(sent[cut:])
        assert connection.answer("POST").status == 201


def test_who_leaves_in_the_midst_of_pipelined_answers_is_no_failure(
    shared: RegistryServer, connect: Connect, name: str
) -> None:
    """Nothing is written to a connection that is gone, and nothing is logged about it."""
    content = bytes(8 << 20)
    blob = f"/v2/{name}/blobs/{shared.wire.push_blob(name, content)}"
    for _ in range(5):
        connection = connect()
        connection.send(head_of(f"GET {blob} HTTP/1.1") * 3)
        connection.read(1000)
        connection.vanish()
    assert shared.wire.expect(200, "GET", "/v2/").body == b"{}"
    assert "Traceback" not in shared.log
