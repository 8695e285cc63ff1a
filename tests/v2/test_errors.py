"""All errors have one shape, for every method, path and mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from registry_server.config import Settings
from registry_server.http.in_flight import CancelledRequests, InFlight, InFlightTracker
from registry_server.wiring.app import build
from storage.drivers.filesystem.driver import FilesystemDriver
from tests.support.documents import image_manifest
from tests.support.drivers import AnyDriver
from tests.support.wire import sha256
from tests.v2.conftest import Serve
from tests.v2.pushes import (
    ABSENT,
    BASE,
    DIGEST,
    LAYER,
    MANIFEST,
    UPLOADS,
    begin,
    code,
    digest_of,
    error,
    finishing,
    push_image,
    refused,
)

MANIFEST_PATH, BLOB_PATH = f"{BASE}/manifests/v1", f"{BASE}/blobs/{sha256(LAYER)}"
ID = "01234567-89ab-4def-8123-456789abcdef"
SPEC_CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID",
    "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip
# Codes of CNCF distribution for errors without a code in the spec.
MORE_CODES = {"TAG_INVALID", "PAGINATION_NUMBER_INVALID", "RANGE_INVALID", "UNAVAILABLE", "UNKNOWN"}

# Every kind of error: method, target, headers, body, status, code.
REFUSALS: list[tuple[str, str, dict[str, str], bytes, int, str]] = [
    ("GET", "/v2/nothing/here", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", f"{BASE}/manifests/v2", {}, b"", 404, "MANIFEST_UNKNOWN"),
    ("GET", MANIFEST_PATH, {"Accept": "text/html"}, b"", 404, "MANIFEST_UNKNOWN"),
    ("GET", f"{BASE}/manifests/-", {}, b"", 400, "TAG_INVALID"),
    ("GET", f"{BASE}/blobs/{ABSENT}", {}, b"", 404, "BLOB_UNKNOWN"),
    ("GET", f"{BASE}/blobs/x", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", BLOB_PATH, {"Range": "bytes=99-"}, b"", 416, "RANGE_INVALID"),
    ("GET", f"{UPLOADS}{ID}", {}, b"", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("GET", "/v2/nowhere/tags/list", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", f"{BASE}/tags/list?n=-1", {}, b"", 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/_catalog?n=x", {}, b"", 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", f"{BASE}/referrers/x", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", f"{BASE}/referrers/{DIGEST}?n=x", {}, b"", 400, "PAGINATION_NUMBER_INVALID"),
    ("GET", "/v2/Upper/tags/list", {}, b"", 400, "NAME_INVALID"),
    ("PUT", MANIFEST_PATH, {}, b"no JSON", 400, "MANIFEST_INVALID"),
    ("PUT", f"{BASE}/manifests/{ABSENT}", {}, MANIFEST, 400, "DIGEST_INVALID"),
    ("PUT", MANIFEST_PATH, {}, bytes(5 << 20), 413, "SIZE_INVALID"),
    ("PUT", f"{BASE}/manifests/{DIGEST}?" + "tag=a&" * 101, {}, MANIFEST, 414, "TAG_INVALID"),
    ("POST", f"{UPLOADS}?digest={ABSENT}", {}, b"x", 400, "DIGEST_INVALID"),
    ("POST", f"{UPLOADS}?digest-algorithm=md5", {}, b"", 400, "DIGEST_INVALID"),
    ("PATCH", f"{UPLOADS}{ID}", {}, b"x", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PATCH", "{upload}", {"Content-Range": "5-5"}, b"x", 416, "BLOB_UPLOAD_INVALID"),
    ("PATCH", "{upload}", {"Content-Range": "0-5"}, b"x", 400, "SIZE_INVALID"),
    ("PUT", "{upload}", {}, b"", 400, "DIGEST_INVALID"),
    ("DELETE", f"{BASE}/manifests/{ABSENT}", {}, b"", 404, "MANIFEST_UNKNOWN"),
    ("DELETE", f"{BASE}/blobs/{ABSENT}", {}, b"", 404, "BLOB_UNKNOWN"),
    ("POST", MANIFEST_PATH, {}, b"", 405, "UNSUPPORTED"),
    ("PATCH", "/v2/", {}, b"", 405, "UNSUPPORTED"),
]


def has_shape(response: httpx.Response) -> None:
    """Check the envelope, its type and the API version of an error."""
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert response.headers["Content-Length"] == str(len(response.content))
    document = response.json()
    assert set(document) == {"errors"}
    assert document["errors"]
    for one in document["errors"]:
        assert {"code", "message"} <= set(one) <= {"code", "message", "detail"}
        assert one["code"] in SPEC_CODES | MORE_CODES
        assert isinstance(one["message"], str)
        assert one["message"]


@pytest.mark.parametrize(("method", "target", "headers", "body", "status", "expected"), REFUSALS)
async def test_every_refusal_has_one_shape(
    client: httpx.AsyncClient,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
    expected: str,
) -> None:
    """Envelope, content type, API version; HEAD has the same without a body."""
    await push_image(client, "v1")
    target = target.format(upload=await begin(client))
    response = await client.request(method, target, content=body, headers=headers)
    assert refused(response) == (status, expected)
    has_shape(response)
    if method == "GET" and "Range" not in headers:
        head = await client.head(target, headers=headers)
        assert (head.status_code, head.content) == (status, b"")
        assert head.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


async def test_each_missing_reference_is_an_error_of_its_own(client: httpx.AsyncClient) -> None:
    """An envelope with several errors has the shape too."""
    response = await client.put(MANIFEST_PATH, content=MANIFEST)
    assert response.status_code == 400
    has_shape(response)
    assert len(response.json()["errors"]) == 2


@pytest.mark.parametrize(("count", "more"), [(1000, 0), (1001, 1), (2500, 1500)])
async def test_a_thousand_missing_references_are_named(
    client: httpx.AsyncClient, count: int, more: int
) -> None:
    """Further ones are counted by one more entry, without digests."""
    layers = [str(number).encode() for number in range(count - 1)]
    response = await client.put(MANIFEST_PATH, content=image_manifest(b"config", layers))
    assert response.status_code == 400
    has_shape(response)
    errors = response.json()["errors"]
    assert {one["code"] for one in errors} == {"MANIFEST_BLOB_UNKNOWN"}
    named = [one["detail"]["digest"] for one in errors[:1000]]
    assert named == [sha256(part) for part in (b"config", *layers)][:1000]
    assert ["detail" in one for one in errors[1000:]] == [False] * bool(more)
    assert [f" {more} more " in one["message"] for one in errors[1000:]] == [True] * bool(more)


@pytest.mark.parametrize(
    "document",
    ['{"mediaType": "%s"}', '{"schemaVersion": 2, "manifests": [], "annotations": {"%s": 1}}'],
)
async def test_a_message_is_cut(client: httpx.AsyncClient, document: str) -> None:
    """It quotes the request, but not a hundred thousand characters of it."""
    response = await client.put(MANIFEST_PATH, content=document % ("X" * 1_000_000))
    assert refused(response) == (400, "MANIFEST_INVALID")
    has_shape(response)
    message = error(response)["message"]
    assert "XXX…" in message
    assert len(message) <= 1000


async def test_a_request_that_a_drain_cuts_has_the_shape() -> None:
    """If its response has not begun; it is no longer in flight."""
    reached, in_flight = asyncio.Event(), InFlight()

    async def stall(scope: Scope, receive: Receive, send: Send) -> None:
        reached.set()
        await asyncio.Event().wait()

    transport = httpx.ASGITransport(app=InFlightTracker(CancelledRequests(stall), in_flight))
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        asked = asyncio.create_task(client.get("/v2/"))
        await reached.wait()
        asked.cancel()
        response = await asked
    assert (response.status_code, code(response)) == (503, "UNAVAILABLE")
    assert response.headers["Connection"] == "close"
    has_shape(response)
    await in_flight.finished(0)


async def test_an_answer_that_has_begun_gets_no_second_head() -> None:
    """If a request is cut during its response, nothing more is sent."""
    sent: list[Message] = []
    begun = asyncio.Event()

    async def stall(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = CancelledRequests(stall)
    scope = {"type": "http", "method": "GET", "path": "/v2/"}
    answered = asyncio.create_task(app(scope, receive, send))
    await begun.wait()
    answered.cancel()
    await answered
    assert [message["type"] for message in sent] == ["http.response.start"]


@pytest.fixture
def damaged_root(tmp_path: Path) -> FilesystemDriver:
    """Give a root with a file in place of the layout's folder."""
    (tmp_path / "docker").write_text("a file in the way")
    return FilesystemDriver(tmp_path, threads=2)


@pytest.fixture
async def damaged(damaged_root: FilesystemDriver) -> AsyncIterator[httpx.AsyncClient]:
    """Serve that root as a server does, which answers exceptions instead of raising them."""
    transport = httpx.ASGITransport(app=build(Settings(), damaged_root), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        yield client
    await damaged_root.close()


async def test_an_internal_error_has_the_shape_and_no_detail(
    damaged: httpx.AsyncClient, tmp_path: Path
) -> None:
    """A disk that cannot be written is 500 UNKNOWN in the envelope, without a path or a trace."""
    response = await damaged.post(UPLOADS)
    assert (response.status_code, code(response)) == (500, "UNKNOWN")
    has_shape(response)
    assert str(tmp_path) not in response.text
    assert "Error" not in response.text


async def test_a_damaged_root_can_be_read(damaged: httpx.AsyncClient) -> None:
    """Reads find nothing, without an error."""
    assert (await damaged.get("/v2/_catalog")).json() == {"repositories": []}
    assert refused(await damaged.get(MANIFEST_PATH)) == (404, "MANIFEST_UNKNOWN")
    assert refused(await damaged.get(BLOB_PATH)) == (404, "BLOB_UNKNOWN")


# The methods of each path; all others are 405.
ALLOWED = {
    "/v2/": {"GET", "HEAD"},
    MANIFEST_PATH: {"GET", "HEAD", "PUT", "DELETE"},
    f"{BASE}/manifests/{DIGEST}": {"GET", "HEAD", "PUT", "DELETE"},
    BLOB_PATH: {"GET", "HEAD", "DELETE"},
    UPLOADS: {"POST"},
    f"{UPLOADS}{ID}": {"GET", "HEAD", "PATCH", "PUT", "DELETE"},
    f"{BASE}/tags/list": {"GET", "HEAD"},
    "/v2/_catalog": {"GET", "HEAD"},
    f"{BASE}/referrers/{DIGEST}": {"GET", "HEAD"},
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW", "get",
           "Delete", "options")  # fmt: skip


def allow(response: httpx.Response) -> set[str]:
    """Return the methods of an Allow header."""
    return {method.strip() for method in response.headers["Allow"].split(",")}


@pytest.mark.parametrize("path", ALLOWED)
async def test_options_names_every_method_of_the_path(client: httpx.AsyncClient, path: str) -> None:
    """200 and Allow, without a body, as in registry:2, regardless of the content."""
    response = await client.options(path)
    assert (response.status_code, response.content) == (200, b"")
    assert allow(response) == ALLOWED[path]
    assert response.headers["Content-Length"] == "0"


@pytest.mark.parametrize("path", ALLOWED)
async def test_405_names_every_method_of_the_path(client: httpx.AsyncClient, path: str) -> None:
    """405 has Allow with all methods of the path, and the envelope."""
    await push_image(client, "v1")
    for method in METHODS:
        request = client.build_request("GET", path)
        request.method = method  # as it is, unlike build_request, which makes capitals of it
        response = await client.send(request)
        if method in ALLOWED[path]:
            assert response.status_code != 405, method
        else:
            assert response.status_code == 405, method
            assert allow(response) == ALLOWED[path], method
            if method != "HEAD":
                has_shape(response)


DELETES = [
    ("DELETE", MANIFEST_PATH, b""),
    ("DELETE", f"{BASE}/manifests/{DIGEST}", b""),
    ("DELETE", BLOB_PATH, b""),
]
WRITES = [
    ("PUT", MANIFEST_PATH, MANIFEST),
    ("PUT", f"{BASE}/manifests/{DIGEST}?tag=new", MANIFEST),
    ("POST", UPLOADS, b""),
    ("POST", f"{UPLOADS}?digest={digest_of(b'new')}", b"new"),
    ("POST", f"{UPLOADS}?digest-algorithm=sha512", b""),
    ("POST", f"{UPLOADS}?mount={sha256(LAYER)}&from=library/app", b""),
    ("POST", f"{UPLOADS}?mount={sha256(LAYER)}", b""),
    ("POST", f"{UPLOADS}?mount={ABSENT}", b""),
    ("PATCH", "{upload}", b"more"),
    ("PUT", "{upload}?digest=" + digest_of(b"new"), b"new"),
    ("DELETE", "{upload}", b""),
]
READS = [
    ("GET", "/v2/", b""),
    ("GET", MANIFEST_PATH, b""),
    ("HEAD", MANIFEST_PATH, b""),
    ("GET", BLOB_PATH, b""),
    ("HEAD", BLOB_PATH, b""),
    ("GET", f"{BASE}/tags/list", b""),
    ("GET", "/v2/_catalog", b""),
    ("GET", f"{BASE}/referrers/{DIGEST}", b""),
]
DELETING = {"storage": {"delete": {"enabled": True}}}
READONLY = {
    "storage": {"delete": {"enabled": True}, "maintenance": {"readonly": {"enabled": True}}}
}


async def statuses(
    client: httpx.AsyncClient, requests: Iterable[tuple[str, str, bytes]], upload: str
) -> list[httpx.Response]:
    """Send each request and return the responses."""
    return [
        await client.request(method, target.format(upload=upload), content=body)
        for method, target, body in requests
    ]


def disabled(response: httpx.Response) -> None:
    """Check a 405 that the configuration causes: the envelope, and the methods still allowed."""
    assert refused(response) == (405, "UNSUPPORTED"), response.request.url
    has_shape(response)
    assert "disabled" in response.text
    assert response.request.method not in allow(response)


async def test_without_deleting_every_delete_is_405(serve: Serve) -> None:
    """`storage.delete.enabled` is false by default: deletion is refused, all else works."""
    client = await serve({})
    await push_image(client, "v1")
    for response in await statuses(client, DELETES, ""):
        disabled(response)
    for response in await statuses(client, READS, ""):
        assert response.status_code == 200
    # An upload is not content, so its owner may cancel it.
    assert (await client.delete(await begin(client))).status_code == 204
    location = await begin(client)
    assert (await client.patch(location, content=b"new")).status_code == 202
    assert (await client.put(finishing(location, b"new"))).status_code == 201


async def test_readonly_every_write_is_405(serve: Serve, driver: AnyDriver) -> None:
    """`maintenance.readonly` refuses writes and deletion; reads are answered."""
    writable = await serve(DELETING)
    await push_image(writable, "v1")
    upload = await begin(writable)
    await writable.patch(upload, content=b"held")
    client = await serve(READONLY)
    for response in await statuses(client, [*WRITES, *DELETES], upload):
        disabled(response)
    for response in await statuses(client, READS, upload):
        assert response.status_code == 200
    assert (await writable.get(upload)).headers["Range"] == "0-3"
    assert (await client.get(f"{BASE}/tags/list")).json()["tags"] == ["v1"]


async def test_readonly_the_status_of_an_upload_can_be_read(serve: Serve) -> None:
    """GET does not write."""
    writable = await serve(DELETING)
    upload = await begin(writable)
    client = await serve(READONLY)
    assert (await client.get(upload)).status_code == 204


@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
async def test_a_mode_refuses_unknown_content_too(serve: Serve, verb: str) -> None:
    """405 comes before 404: the response does not depend on what exists."""
    client = await serve(READONLY)
    for target in (f"{BASE}/manifests/{DIGEST}", f"{BASE}/manifests/v1"):
        disabled(await client.request(verb, target, content=MANIFEST))
