"""Heads of answers as they go out, and what is made of the heads of requests."""

from __future__ import annotations

import json
from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.http.envelope import NO_SNIFF
from registry_server.serving.http1.answer_heads import answer_head, refusal
from registry_server.serving.http1.framing import ChunkedFraming, LengthFraming
from registry_server.serving.http1.request_heads import (
    MOST_FIELDS,
    MOST_LINES,
    HeadInvalid,
    HeadReader,
    HeadTooLong,
    RequestHead,
    read,
)

Headers = tuple[tuple[bytes, bytes], ...]

HOST = (b"host", b"registry")
CHUNKED = (b"transfer-encoding", b"chunked")


def rendered(status: int, headers: Headers, *, bodiless: bool, keep_alive: bool) -> h11.Response:
    """Return what a client reads in a head that we rendered."""
    head = answer_head(status, headers, bodiless=bodiless, keep_alive=keep_alive)
    client = h11.Connection(h11.CLIENT)
    method = "HEAD" if bodiless else "GET"
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(head.rendered + b"\r\n")
    event = client.next_event()
    assert isinstance(event, h11.Response)
    assert event.status_code == status
    return event


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("bodiless", [True, False])
@pytest.mark.parametrize("status", [200, 204, 206, 304, 404, 500])
@pytest.mark.parametrize("length", [None, 0, 5])
def test_a_head_says_where_its_body_ends(
    status: int, length: int | None, bodiless: bool, keep_alive: bool
) -> None:
    """By its length, in chunks, or because there is none; and whether the connection stays."""
    headers: Headers = ((b"x", b"y"),)
    if length is not None:
        headers += ((b"content-length", b"%d" % length),)
    head = answer_head(status, headers, bodiless=bodiless, keep_alive=keep_alive)
    without = bodiless or status in {204, 304}
    assert head.length == (0 if without else length)
    assert head.keep_alive is keep_alive
    found = dict(rendered(status, headers, bodiless=bodiless, keep_alive=keep_alive).headers)
    assert found.pop(b"x") == b"y"
    assert found.pop(b"connection", None) == (None if keep_alive else b"close")
    assert found.pop(b"transfer-encoding", None) == (b"chunked" if head.length is None else None)
    assert found.pop(b"content-length", None) == (None if length is None else b"%d" % length)
    assert found.pop(b"x-content-type-options") == b"nosniff"
    assert not found


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("said", [b"close", b"Close", b"keep-alive, close"])
def test_connection_close_is_sent_once(said: bytes, keep_alive: bool) -> None:
    """Its header ends the connection, and no second one is added."""
    headers = ((b"connection", said), (b"content-length", b"0"))
    head = answer_head(200, headers, bodiless=False, keep_alive=keep_alive)
    assert not head.keep_alive
    assert head.rendered.lower().count(b"connection:") == 1


@pytest.mark.parametrize(
    "bad", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b", b"\r\n", b"a\r\n\r\nHTTP"]
)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_header_cannot_end_its_line(bad: bytes, keep_alive: bool) -> None:
    """A header's value may repeat a part of the request; it cannot become another header."""
    for headers in (((b"x", bad),), ((bad, b"x"),), ((b"content-length", b"1"), (b"x", bad))):
        with pytest.raises(ValueError):
            answer_head(200, headers, bodiless=False, keep_alive=keep_alive)


@given(st.lists(st.tuples(st.just(b"x"), st.binary(max_size=8)), max_size=4).map(tuple))
def test_a_head_has_the_lines_of_its_headers_and_no_other(headers: Headers) -> None:
    """Whatever bytes are in the values: rendered line by line, or refused."""
    given_ = (*headers, (b"content-length", b"0"))
    try:
        head = answer_head(200, given_, bodiless=False, keep_alive=True)
    except ValueError:
        assert any(set(value) & set(b"\r\n\0") for _, value in headers)
        return
    lines = head.rendered.split(b"\r\n")
    sent = (*given_, NO_SNIFF)
    assert lines == [b"HTTP/1.1 200 OK", *(b"%b: %b" % header for header in sent), b""]


@pytest.mark.parametrize("said", [b"nosniff", b"", b"none", b"sniff away"])
@pytest.mark.parametrize("status", [200, 206, 301, 304, 404, 500])
def test_a_configured_nosniff_header_replaces_ours(status: int, said: bytes) -> None:
    """The configured header is sent as it is, and only once."""
    headers = ((b"content-length", b"0"), (NO_SNIFF[0], said))
    head = answer_head(status, headers, bodiless=False, keep_alive=True)
    lines = [line for line in head.rendered.split(b"\r\n") if line.startswith(NO_SNIFF[0])]
    assert lines == [b"%b: %b" % (NO_SNIFF[0], said)]


@pytest.mark.parametrize("status", [400, 408, 431])
def test_a_refusal_is_a_complete_answer(status: int) -> None:
    """It has the envelope as its body, with the right length, and ends the connection."""
    answer = refusal(HTTPStatus(status))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    lines = {line.partition(b": ")[0].lower(): line for line in head.split(b"\r\n")[1:]}
    assert lines[b"content-length"].endswith(b" %d" % len(body))
    assert lines[b"connection"].endswith(b"close")
    assert lines[NO_SNIFF[0]] == b"%b: %b" % NO_SNIFF
    assert json.loads(body)["errors"]


def ask(*headers: tuple[bytes, bytes], line: bytes = b"GET /v2/ HTTP/1.1") -> RequestHead:
    """Read the head of a request."""
    return read(b"\r\n".join((line, *(b"%b: %b" % header for header in headers), b"", b"")))


def test_where_the_body_of_a_request_ends() -> None:
    """After its length, with its last chunk, or at once."""
    assert ask(HOST).framing() is None
    assert ask(HOST, (b"Content-Length", b"0")).framing() is None
    counted = ask(HOST, (b"Content-Length", b"5")).framing()
    assert isinstance(counted, LengthFraming)
    assert counted.ahead == 5
    for value in (b"chunked", b"Chunked", b" chunked "):
        assert isinstance(ask((b"Transfer-Encoding", value), HOST).framing(), ChunkedFraming)


def test_each_request_reads_its_own_body() -> None:
    """A head that is remembered begins a new body each time."""
    first, second = (ask(HOST, (b"Content-Length", b"5")).framing() for _ in range(2))
    assert first is not None
    assert second is not None
    first.take(memoryview(b"12345"))
    assert (first.done, second.done) == (True, False)


@pytest.mark.parametrize(
    "headers",
    [
        [HOST, (b"transfer-encoding", b"gzip")],
        [HOST, (b"transfer-encoding", b"gzip, chunked")],
        [HOST, (b"transfer-encoding", b"chunked, chunked")],
        [HOST, (b"transfer-encoding", b"chunked, identity")],
        [HOST, (b"transfer-encoding", b"identity")],
        [HOST, (b"transfer-encoding", b"xchunked")],
        [HOST, (b"transfer-encoding", b"chunked;q=1")],
        [HOST, (b"transfer-encoding", b"")],
        [HOST, CHUNKED, CHUNKED],
        [HOST, (b"transfer-encoding", b"gzip"), CHUNKED],
        [HOST, CHUNKED, (b"transfer-encoding", b"identity")],
        [HOST, HOST],
        [CHUNKED],
        [],
    ],
)
def test_an_ambiguous_head_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """One Host, and no coding but one chunked."""
    with pytest.raises(HeadInvalid):
        ask(*headers)


def test_http_1_0_has_no_codings_and_needs_no_host() -> None:
    """An old proxy would pass a chunked body on as it is (RFC 9112 section 6.1)."""
    line = b"GET /v2/ HTTP/1.0"
    assert ask(line=line).framing() is None
    assert not ask((b"Connection", b"keep-alive"), line=line).keep_alive
    assert not ask((b"Expect", b"100-continue"), line=line).awaits_continue
    for headers in ([HOST, CHUNKED], [HOST, HOST]):
        with pytest.raises(HeadInvalid):
            ask(*headers, line=line)


@pytest.mark.parametrize(
    "line", [b"GET /aHTTP/1.1", b"GET / HTTP/0.9", b"GET / HTTP/2.0", b"GET / HTTP/1.2"]
)
def test_other_versions_are_refused(line: bytes) -> None:
    """What they mean by a head may be something else."""
    with pytest.raises(HeadInvalid):
        ask(HOST, line=line)


def test_the_lines_of_a_head_are_limited() -> None:
    """However little is in them; handlers go over all of them."""
    assert len(ask(HOST, *[(b"x", b"")] * (MOST_LINES - 1)).headers) == MOST_LINES
    with pytest.raises(HeadTooLong):
        ask(HOST, *[(b"x", b"")] * MOST_LINES)


def test_too_many_lines_are_refused_before_the_head_is_complete() -> None:
    """Short lines take thirty times as much memory as was sent, and the end may not come."""
    reader = HeadReader()
    reader.feed(b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * MOST_LINES)
    with pytest.raises(HeadTooLong):
        reader.feed(b"a:b\r\nc:d\r\n")


def test_the_fields_of_a_query_are_limited() -> None:
    """Each takes time to read, so 32,000 of them would keep others waiting."""
    target = b"GET /?%b HTTP/1.1\r\nHost: a\r\n\r\n"
    assert read(target % b"&".join([b"a=b"] * MOST_FIELDS)).query.count(b"a=b") == MOST_FIELDS
    with pytest.raises(HeadTooLong):
        read(target % b"&".join([b"a=b"] * (MOST_FIELDS + 1)))


@pytest.mark.parametrize("size", [0, 2000])
def test_a_head_parses_the_same_whole_and_in_parts(size: int) -> None:
    """However it arrives, short and remembered or long."""
    head = b"PUT /a%%2Fb?c HTTP/1.1\r\nHost: x\r\nX-Long: %b\r\n\r\n" % (b"y" * size)
    reader = HeadReader()
    for at in range(len(head)):
        assert not reader.is_whole
        reader.feed(head[at : at + 1])
    assert reader.result() == read(head) == read(head)
    assert read(head).path == "/a/b"


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        (b"/v2/", b"/v2/", b""),
        (b"/v2/?a=b", b"/v2/", b"a=b"),
        (b"/v2/?a?b", b"/v2/", b"a?b"),
        (b"/?", b"/", b""),
        (b"//host/v2/", b"//host/v2/", b""),
        (b"/v2/http://a/b", b"/v2/http://a/b", b""),
        (b"http://registry/v2/", b"/v2/", b""),
        (b"http://registry:81/v2/?n=1", b"/v2/", b"n=1"),
        (b"/v2/#f", b"/v2/", b""),
    ],
)
def test_a_target_is_a_path_and_a_query(url: bytes, path: bytes, query: bytes) -> None:
    """The absolute form means its path."""
    head = ask(HOST, line=b"GET %b HTTP/1.1" % url)
    assert (head.raw_path, head.path.encode(), head.query) == (path, path, query)


@pytest.mark.parametrize("url", [b"", b"v2/", b"http://", b"http://registry", b"a:1"])
def test_a_target_without_a_path_is_refused(url: bytes) -> None:
    """There is nothing to look for."""
    with pytest.raises(HeadInvalid):
        ask(HOST, line=b"GET %b HTTP/1.1" % url)
