"""When the machine, not the client, is at fault."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
import pytest

from registry_server.config import Settings
from registry_server.config.validation import validated
from storage.values.digest import Digest
from storage.values.manifests import OCI_INDEX
from tests.storage.wrappers import Change, WrappedDriver
from tests.support.app import serve_in_process
from tests.support.drivers import AnyDriver
from tests.support.wire import path_of

T = TypeVar("T")

INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


class _FailingDriver(WrappedDriver):
    """Every change fails as the system would have it fail."""

    code = 0
    kinds: frozenset[str] | None = None
    """The kinds of change that fail; None for all."""

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        if self.kinds is not None and change.kind not in self.kinds:
            return await super().change(change, carry_out)
        raise OSError(self.code, "as the test wants it")


@pytest.mark.parametrize(
    ("code", "status", "says", "traced"),
    [
        (errno.ENOSPC, 507, "full", False),
        (errno.EDQUOT, 507, "full", False),
        (errno.EMFILE, 503, "open files", False),
        (errno.ENFILE, 503, "open files", False),
        (errno.EFBIG, 507, "too large", False),
        (errno.EROFS, 503, "read-only", False),
        (errno.EACCES, 503, "no permission", False),
        (errno.EPERM, 503, "no permission", False),
        (errno.ETIMEDOUT, 503, "timed out", False),
        (errno.EIO, 500, "log", True),
    ],
)
async def test_what_an_operator_can_mend_is_said_in_a_line(
    driver: AnyDriver,
    code: int,
    status: int,
    says: str,
    traced: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What has a cause of its own has an answer of its own and no traceback in the log."""
    failing = _FailingDriver(driver)
    failing.code = code
    async with serve_in_process(Settings(), failing) as client:
        response = await client.post("/v2/app/blobs/uploads/")
    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/json")
    (error,) = response.json()["errors"]
    assert error["code"] == "UNKNOWN"
    assert says in error["message"]
    assert response.headers.get("retry-after", "").isdigit() is (status == 503)
    (record,) = [one for one in caplog.records if one.name == "registry_server.http.errors"]
    assert "POST /v2/app/blobs/uploads/" in record.getMessage()
    assert bool(record.exc_info) is traced


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (errno.ENOSPC, 507),
        (errno.EDQUOT, 507),
        (errno.EMFILE, 503),
        (errno.EROFS, 503),
        (errno.EACCES, 503),
        (errno.EIO, 500),
    ],
)
async def test_each_request_that_changes_something_says_it_alike(
    driver: AnyDriver, code: int, status: int
) -> None:
    """Whatever the endpoint: the status, the envelope, and reads go on meanwhile."""
    failing = _FailingDriver(driver)
    failing.code, failing.kinds = code, frozenset()
    settings = validated(Settings, {"storage": {"delete": {"enabled": True}}})
    async with serve_in_process(settings, failing) as client:
        requests = await _prepare(client)
        failing.kinds = None
        for method, target, body in requests:
            response = await client.request(method, target, content=body)
            assert response.status_code == status, (method, target)
            (error,) = response.json()["errors"]
            assert error["code"] == "UNKNOWN"
            assert ("retry-after" in response.headers) is (status == 503)
        assert (await client.get("/v2/app/manifests/v1")).content == INDEX
        assert (await client.get(f"/v2/app/blobs/{Digest.of(b'content')}")).content == b"content"
        assert (await client.get("/v2/app/tags/list")).json()["tags"] == ["v1"]


async def _prepare(client: httpx.AsyncClient) -> list[tuple[str, str, bytes]]:
    """Push a blob and a manifest and begin an upload; return what changes something."""
    uploads, digest = "/v2/app/blobs/uploads/", Digest.of(b"content")
    await client.post(f"{uploads}?digest={digest}", content=b"content")
    await client.put("/v2/app/manifests/v1", content=INDEX, headers={"Content-Type": OCI_INDEX})
    session = path_of((await client.post(uploads)).headers["location"])
    return [
        ("POST", uploads, b""),
        ("POST", f"{uploads}?digest={digest}", b"content"),
        ("POST", f"/v2/other/blobs/uploads/?mount={digest}&from=app", b""),
        ("PATCH", session, b"content"),
        ("PUT", f"{session}?digest={digest}", b"content"),
        ("DELETE", session, b""),
        ("PUT", "/v2/app/manifests/v2", INDEX),
        ("DELETE", "/v2/app/manifests/v1", b""),
        ("DELETE", f"/v2/app/manifests/{Digest.of(INDEX)}", b""),
        ("DELETE", f"/v2/app/blobs/{digest}", b""),
    ]


async def test_a_disk_that_is_full_for_the_last_link_is_what_a_single_post_reports(
    driver: AnyDriver,
) -> None:
    """The session is gone by then, and that is not what the client is told."""
    failing = _FailingDriver(driver)
    failing.code, failing.kinds = errno.ENOSPC, frozenset({"write"})
    async with serve_in_process(Settings(), failing) as client:
        target = f"/v2/app/blobs/uploads/?digest={Digest.of(b'content')}"
        response = await client.post(target, content=b"content")
    assert response.status_code == 507
