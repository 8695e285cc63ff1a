"""What is let in during one turn.

One look at the disk serves a whole turn: each request that is let in is added to what was seen, and
nothing else grows during the turn. Something may shrink after the look. That is never missed by a
request that came after it, because all requests of a turn came before the turn began.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.digest import Digest
from storage.drivers.base import Driver
from storage.errors import QuotaExceeded
from storage.names import RepositoryName, UploadId
from storage.quotas import held
from storage.quotas.held import Held
from storage.quotas.members import Tallies, member_at


@dataclass(frozen=True, slots=True)
class Growth:
    """`size` bytes to be held in all, by one session, or as the content of `digest`."""

    size: int
    digest: Digest | None = None
    upload: UploadId | None = None


class Admission:
    """What was seen of a repository in a turn, with what was let in since."""

    def __init__(self, driver: Driver, name: RepositoryName, tallies: Tallies) -> None:
        self._driver = driver
        self._name = name
        self._tallies = tallies
        self._there: Held | None = None
        self._is_thorough = False

    async def admit(self, growth: Growth, most: int) -> int:
        """Let something in; return how much room is left, or raise `QuotaExceeded`."""
        if await self._has(growth):
            return 0
        for thoroughly in (False, True):  # a folder without a link is no reason to refuse
            there = await self._look(thoroughly=thoroughly)
            if there.has(growth.digest, growth.size):
                return 0
            left = most - there.beside(growth.upload, growth.digest) - growth.size
            if left >= 0:
                self.count(growth)
                return left
        raise QuotaExceeded(self._name.text, most, there.beside(growth.upload), growth.size)

    def count(self, growth: Growth) -> None:
        """Count what is about to be there."""
        if self._there is not None:
            self._there = self._there.grown(growth.size, growth.digest, growth.upload)

    def forget(self) -> None:
        """Look again before anything else is let in."""
        self._there = None

    async def _has(self, growth: Growth) -> bool:
        """Tell whether it is content that is a member: that costs nothing a second time."""
        digest = growth.digest
        if digest is None:
            return False
        found = await self._driver.batch(lambda view: member_at(view, self._name, digest))
        return found is not None and found[1] >= growth.size

    async def _look(self, *, thoroughly: bool) -> Held:
        if self._there is None or (thoroughly and not self._is_thorough):
            self._there = await held.held(
                self._driver, self._name, self._tallies, thoroughly=thoroughly
            )
            self._is_thorough = thoroughly
        return self._there
