"""`http.accelredirect`: the response for a blob has its path for nginx, and no bytes."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.requests import HTTPConnection, Request

from registry_server.access.interfaces import Action, OpenAccess
from registry_server.v2.accel_redirect import AccelRedirect
from registry_server.v2.blobs import BlobEndpoints
from registry_server.v2.gate import Gate
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName
from tests.support.drivers import AnyDriver
from tests.support.wire import sha256
from tests.v2.conftest import Serve
from tests.v2.pushes import ABSENT, BASE, LAYER, NAME, digest_of, push_blob, push_image, refused

DIGEST = sha256(LAYER)
BLOB = f"{BASE}/blobs/{DIGEST}"
SETTINGS = {"http": {"accelredirect": "/inside"}, "storage": {"delete": {"enabled": True}}}
SENT = "X-Accel-Redirect"


def below(digest: str) -> str:
    """Return the expected path of a digest."""
    algorithm, _, text = digest.partition(":")
    return f"/inside/{algorithm}/{text[:2]}/{text}/data"


@pytest.fixture
async def offloading(serve: Serve) -> httpx.AsyncClient:
    """Give a client of a registry with `http.accelredirect`."""
    return await serve(SETTINGS)


@pytest.fixture
def files(driver: AnyDriver) -> bool:
    """Tell whether the driver has files."""
    return isinstance(driver, FilesystemDriver)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_nginx_sends_a_blob(
    offloading: httpx.AsyncClient, files: bool, algorithm: str
) -> None:
    """The response has its path and headers, and no bytes. Without files it has the bytes."""
    digest = await push_blob(offloading, LAYER, algorithm=algorithm)
    response = await offloading.get(f"{BASE}/blobs/{digest}")
    expected = {
        "Content-Length": "0" if files else str(len(LAYER)),
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Cache-Control": "max-age=31536000, immutable",
    }
    assert response.status_code == 200
    assert {name: response.headers[name] for name in expected} == expected
    assert response.content == (b"" if files else LAYER)
    assert response.headers.get(SENT) == (below(digest) if files else None)
    # nginx would keep this header and add its own.
    assert ("Accept-Ranges" in response.headers) is not files


async def test_it_is_off_by_default(client: httpx.AsyncClient) -> None:
    """The response has the bytes, whatever the request has."""
    await push_blob(client, LAYER)
    response = await client.get(BLOB, headers={SENT: "/etc/passwd", "X-Sendfile-Type": SENT})
    assert SENT not in response.headers
    assert response.content == LAYER


@pytest.mark.parametrize("wanted", ["bytes=2-5", "bytes=2-", "bytes=-5", "bytes=0-99", "bytes=-99"])
async def test_nginx_serves_a_range(
    offloading: httpx.AsyncClient, files: bool, wanted: str
) -> None:
    """nginx has the client's Range and reads the part itself."""
    await push_blob(offloading, LAYER)
    response = await offloading.get(BLOB, headers={"Range": wanted})
    assert response.headers.get(SENT) == (below(DIGEST) if files else None)
    assert response.status_code == (200 if files else 206)
    assert response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Range", "bytes=0-1,4-5")], 206),
        ([("Range", "bytes=0-4,3-6")], 206),
        ([("Range", "bytes=,1-2")], 206),
        ([("Range", "BYTES=1-2")], 206),
        ([("Range", f"bytes=1-{'9' * 19}")], 206),
        ([("Range", "bytes=1-2"), ("Range", "bytes=3-4")], 206),
        ([("Range", "items=1-2")], 200),
        ([("Range", "")], 200),
        ([("If-Match", '"other"')], 200),
        ([("If-Match", f'"{DIGEST}"'), ("Range", "bytes=1-2")], 206),
        ([("If-Modified-Since", "Fri, 21 Oct 2095 07:28:00 GMT")], 200),
        ([("If-Unmodified-Since", "Wed, 21 Oct 2015 07:28:00 GMT")], 200),
    ],
)
async def test_a_request_that_nginx_treats_differently_is_answered_here(
    offloading: httpx.AsyncClient, headers: list[tuple[str, str]], status: int
) -> None:
    """The same status and bytes as without the setting."""
    await push_blob(offloading, LAYER)
    response = await offloading.get(BLOB, headers=headers)
    assert (response.status_code, SENT in response.headers) == (status, False)
    assert response.content
    assert response.headers["Accept-Ranges"] == "bytes"


async def test_an_empty_blob_is_answered_here(offloading: httpx.AsyncClient) -> None:
    """nginx refuses any range of an empty file."""
    digest = await push_blob(offloading, b"")
    for headers in ({}, {"Range": "bytes=0-5"}):
        response = await offloading.get(f"{BASE}/blobs/{digest}", headers=headers)
        assert (response.status_code, response.content) == (200, b"")
        assert SENT not in response.headers


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0", "bytes=5-2"])
async def test_an_unsatisfiable_range_is_refused_here(
    offloading: httpx.AsyncClient, wanted: str
) -> None:
    """416 has the envelope, unless If-Range disables the range."""
    await push_blob(offloading, LAYER)
    response = await offloading.get(BLOB, headers={"Range": wanted})
    assert refused(response) == (416, "RANGE_INVALID")
    assert response.headers["Content-Range"] == f"bytes */{len(LAYER)}"
    assert SENT not in response.headers
    whole = await offloading.get(BLOB, headers={"Range": wanted, "If-Range": '"other"'})
    assert whole.status_code == 200


async def test_head_and_304_are_answered_here(offloading: httpx.AsyncClient) -> None:
    """HEAD has the length, and 304 has no body."""
    await push_blob(offloading, LAYER)
    head = await offloading.head(BLOB)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(LAYER)))
    same = await offloading.get(BLOB, headers={"If-None-Match": f'"{DIGEST}"'})
    assert same.status_code == 304
    assert SENT not in head.headers
    assert SENT not in same.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize(
    "target",
    [
        f"{BASE}/blobs/{ABSENT}",
        f"/v2/elsewhere/blobs/{DIGEST}",
        f"{BASE}/blobs/sha256:{'.' * 64}",
        f"{BASE}/blobs/sha256:..%2f..%2f{'0' * 58}",
        f"{BASE}/blobs/sha256:{DIGEST[7:-2].upper()}%0a",
        f"{BASE}/blobs/sha256:{DIGEST[7:]}%0d%0aX-Accel-Redirect:%20/x",
        f"/v2/a..b/blobs/{DIGEST}",
        f"/v2/../blobs/{DIGEST}",
        f"/v2//../inside/{DIGEST}",
    ],
)
async def test_a_refusal_has_no_path(
    offloading: httpx.AsyncClient, method: str, target: str
) -> None:
    """An unknown blob or invalid digest has no path, and no header repeats the request."""
    await push_blob(offloading, LAYER)
    headers = {SENT: f"/inside/{DIGEST}", "X-Accel-Buffering": "no", "X-Original-URI": "/inside/"}
    response = await offloading.request(method, target, headers=headers)
    assert response.is_client_error or response.status_code == 301
    assert not [name for name in response.headers if name.startswith("x-accel")]


class _Refused(Exception):
    """The caller has no access."""


class _Closed(OpenAccess):
    """Denies every action on every repository."""

    async def authorize(
        self,
        connection: HTTPConnection,
        name: RepositoryName,
        *actions: Action,
        source: RepositoryName | None = None,
    ) -> None:
        """Refuse."""
        raise _Refused


async def test_the_gate_comes_first(driver: AnyDriver, offloading: httpx.AsyncClient) -> None:
    """A caller without access gets no path, although the blob is a member."""
    await push_blob(offloading, LAYER)
    closed = BlobEndpoints(Gate(StoredRegistry(driver), _Closed()), AccelRedirect("/inside/"))
    path = {"name": NAME, "digest": DIGEST}
    scope = {"type": "http", "method": "GET", "headers": [], "path_params": path}
    with pytest.raises(_Refused):
        await closed.get(Request(scope))


async def test_only_the_digest_decides(offloading: httpx.AsyncClient, files: bool) -> None:
    """Paths in the request change nothing."""
    await push_blob(offloading, LAYER)
    headers = {SENT: "/etc/passwd", "X-Accel-Mapping": "/=/etc/", "X-Sendfile-Type": "X-Sendfile"}
    response = await offloading.get(f"{BLOB}?path=/etc/passwd", headers=headers)
    assert response.headers.get(SENT) == (below(DIGEST) if files else None)
    assert not {"X-Sendfile", "X-Accel-Mapping"} & set(response.headers)


async def test_manifests_are_not_redirected(offloading: httpx.AsyncClient) -> None:
    """They are small, and cached."""
    await push_image(offloading, "v1")
    response = await offloading.get(f"{BASE}/manifests/v1")
    assert response.content
    assert SENT not in response.headers


async def test_a_blob_stored_under_another_algorithm(
    driver: AnyDriver, offloading: httpx.AsyncClient, files: bool
) -> None:
    """distribution stores a sha512 push by its sha256 digest, which the path has."""
    name = digest_of(LAYER, "sha512")
    link = f"{paths.ROOT}/repositories/{NAME}/_layers/sha512/{name[7:]}/link"
    await driver.write(paths.blob(Digest.parse(DIGEST)), LAYER)
    await driver.write(link, DIGEST.encode())
    response = await offloading.get(f"{BASE}/blobs/{name}")
    assert response.headers["Docker-Content-Digest"] == name
    assert response.headers.get(SENT) == (below(DIGEST) if files else None)


async def test_an_emptied_blob_is_unknown(driver: AnyDriver, offloading: httpx.AsyncClient) -> None:
    """nginx gets no path of a file that a crash has emptied."""
    await push_blob(offloading, LAYER)
    await driver.write(paths.blob(Digest.parse(DIGEST)), b"")
    response = await offloading.get(BLOB)
    assert refused(response) == (404, "BLOB_UNKNOWN")
    assert SENT not in response.headers


async def test_the_path_is_that_of_the_file(
    offloading: httpx.AsyncClient, files: bool, tmp_path: Path
) -> None:
    """Below the folder of blobs it is the path of the blob's file."""
    await push_blob(offloading, LAYER)
    sent = (await offloading.get(BLOB)).headers.get(SENT)
    if files:
        assert sent is not None
        assert (tmp_path / paths.BLOBS / sent.removeprefix("/inside/")).read_bytes() == LAYER


async def test_a_read_only_registry_redirects_too(
    serve: Serve, offloading: httpx.AsyncClient, files: bool
) -> None:
    """A mirror in read-only mode profits most."""
    await push_blob(offloading, LAYER)
    mirror = await serve(SETTINGS | {"storage": {"maintenance": {"readonly": {"enabled": True}}}})
    assert (await mirror.get(BLOB)).headers.get(SENT) == (below(DIGEST) if files else None)
