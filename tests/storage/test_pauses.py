"""The bytes before a pause of a body wait on disk, not in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from storage.content.upload_store import UploadSession
from storage.repository.registry import StoredRegistry
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from tests.storage.content import APP, begin, finish, pull_blob
from tests.support.drivers import AnyDriver

MOST = 64 << 10
PATIENCE = 30.0


async def _pausing(session: UploadSession, parts: list[list[bytes]]) -> AsyncIterator[bytes]:
    """Yield the pieces of each part, and continue when nearly all of it was written."""
    yielded = 0
    for pieces in parts:
        for piece in pieces:
            yielded += len(piece)
            yield piece
        async with asyncio.timeout(PATIENCE):
            while session.length < yielded - MOST:  # noqa: ASYNC110 - a thread writes
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "sizes",
    [
        [[50_000] * 10],
        [[1000] * 900, [16_000] * 8, [1], [100_000]],
        [[100_000] * 12, [300_000, 5], [70_000], [200_000] * 4, [90_000]],
    ],
)
async def test_a_pause_has_nearly_all_written(driver: AnyDriver, sizes: list[list[int]]) -> None:
    """At most 64 KiB of what arrived before it are unwritten, and all is written once, in order."""
    drawn = random.Random(1)
    parts = [[drawn.randbytes(size) for size in part] for part in sizes]
    content = b"".join(b"".join(part) for part in parts)
    repository = StoredRegistry(driver).repository(APP)
    id = await begin(repository)
    async with repository.uploads.open(id) as session:
        await session.append(_pausing(session, parts), DeclaredRange())
        assert session.length == len(content)
    await finish(repository, id, Digest.of(content))
    assert await pull_blob(repository, Digest.of(content)) == content
