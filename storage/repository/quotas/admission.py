"""Admits growth while the quota lock is held.

The usage is read from disk once for all requests that share the lock: each admitted request is
added to it, and nothing else can grow meanwhile. Deletions after the read are missed, but only by
requests that came before the lock was acquired, and so before the deletions.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.drivers.base import Driver
from storage.errors import QuotaExceeded
from storage.repository.quotas.members import PartCache, member_at
from storage.repository.quotas.usage import RepositoryUsage, read_usage
from storage.values.digest import Digest
from storage.values.names import RepositoryName, UploadId


@dataclass(frozen=True, slots=True)
class Growth:
    """The wish to store `size` bytes in all, in an upload session or as the content of `digest`."""

    size: int
    digest: Digest | None = None
    upload: UploadId | None = None


class Admission:
    """The usage of a repository while its quota lock is held, including what was admitted."""

    def __init__(self, driver: Driver, name: RepositoryName, part_cache: PartCache) -> None:
        self._driver = driver
        self._name = name
        self._part_cache = part_cache
        self._usage: RepositoryUsage | None = None
        self._is_thorough = False

    async def admit(self, growth: Growth, most: int) -> int:
        """Admit `growth` and return the free bytes after it; raise `QuotaExceeded`."""
        if await self._has(growth):
            return 0
        for thoroughly in (False, True):  # a folder without a link is no reason to refuse
            usage = await self._read_usage(thoroughly=thoroughly)
            if usage.has(growth.digest, growth.size):
                return 0
            left = most - usage.total_without(growth.upload, growth.digest) - growth.size
            if left >= 0:
                self.count(growth)
                return left
        raise QuotaExceeded(self._name.text, most, usage.total_without(growth.upload), growth.size)

    def count(self, growth: Growth) -> None:
        """Add `growth` to the usage."""
        if self._usage is not None:
            self._usage = self._usage.grown(growth.size, growth.digest, growth.upload)

    def forget(self) -> None:
        """Read the usage again before anything else is admitted."""
        self._usage = None

    async def _has(self, growth: Growth) -> bool:
        """Return whether `growth` is content that is a member already, which needs no space."""
        digest = growth.digest
        if digest is None:
            return False
        member = await self._driver.batch(lambda reader: member_at(reader, self._name, digest))
        return member is not None and member[1] >= growth.size

    async def _read_usage(self, *, thoroughly: bool) -> RepositoryUsage:
        if self._usage is None or (thoroughly and not self._is_thorough):
            self._usage = await read_usage(
                self._driver, self._name, self._part_cache, thoroughly=thoroughly
            )
            self._is_thorough = thoroughly
        return self._usage
