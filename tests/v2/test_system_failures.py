"""When the machine, not the client, is at fault."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from registry_server.config import Settings
from storage.digest import Digest
from tests.storage.wrappers import Change, WrappedDriver
from tests.support.app import serve_in_process
from tests.support.drivers import AnyDriver

T = TypeVar("T")


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
    ("code", "status", "traced"),
    [
        (errno.ENOSPC, 507, False),
        (errno.EDQUOT, 507, False),
        (errno.EMFILE, 503, False),
        (errno.ETIMEDOUT, 503, False),
        (errno.EIO, 500, True),
    ],
)
async def test_what_an_operator_can_mend_is_said_in_a_line(
    driver: AnyDriver, code: int, status: int, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk and exhausted descriptors have answers of their own and no traceback."""
    failing = _FailingDriver(driver)
    failing.code = code
    async with serve_in_process(Settings(), failing) as client:
        response = await client.post("/v2/app/blobs/uploads/")
    assert response.status_code == status
    (error,) = response.json()["errors"]
    assert error["code"] == "UNKNOWN"
    (record,) = [one for one in caplog.records if one.name == "registry_server.errors"]
    assert "POST /v2/app/blobs/uploads/" in record.getMessage()
    assert bool(record.exc_info) is traced


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
