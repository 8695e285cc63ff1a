"""Failures of the machine, which are no fault of the client."""

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
from tests.storage.wrappers import Change, ObservedDriver
from tests.support.app import serve_in_process
from tests.support.drivers import AnyDriver
from tests.support.wire import path_of

T = TypeVar("T")

INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


class _FailingDriver(ObservedDriver):
    """Fails every change as the system would."""

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
async def test_a_failure_that_an_operator_can_fix_is_one_line(
    driver: AnyDriver,
    code: int,
    status: int,
    says: str,
    traced: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A known cause has its own response and no traceback in the log."""
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
async def test_each_request_that_writes_has_the_same_error(
    driver: AnyDriver, code: int, status: int
) -> None:
    """For every endpoint the status and the envelope; reads still work."""
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
    """Push a blob and a manifest and start an upload; return the requests that write."""
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


async def test_a_single_post_reports_that_the_disk_is_full(
    driver: AnyDriver,
) -> None:
    """The session is already deleted, but that is not the error."""
    failing = _FailingDriver(driver)
    failing.code, failing.kinds = errno.ENOSPC, frozenset({"write"})
    async with serve_in_process(Settings(), failing) as client:
        target = f"/v2/app/blobs/uploads/?digest={Digest.of(b'content')}"
        response = await client.post(target, content=b"content")
    assert response.status_code == 507
