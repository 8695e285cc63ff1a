"""The first stage: the bytes of every blob, in the order of digests, several at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

from storage import paths
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, Editor, View
from storage.errors import reason_of
from storage.maintenance.scrub.contents import Examined, examine
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.listing import Listing, is_digest, listed
from storage.maintenance.scrub.pace import Pace

# Blobs are replaced while they are read by nobody for long.
_ATTEMPTS = 3
_DATA = "data"


class BlobCheck:
    """Reads blobs, at most `parallel` at once, and moves corrupt ones away if it `repairs`."""

    def __init__(self, driver: Driver, pace: Pace, *, parallel: int, repairs: bool) -> None:
        self._driver = driver
        self._pace = pace
        self._free = asyncio.Semaphore(parallel)
        self._repairs = repairs
        # Those being read, in order, each with the one before it.
        self._in_flight: dict[Digest, Digest | None] = {}
        self._last: Digest | None = None

    @property
    def done_up_to(self) -> Digest | None:
        """The last digest with which all before it are done too."""
        return next(iter(self._in_flight.values()), self._last)

    async def run(
        self,
        after: Digest | None,
        found: Callable[[Finding], None],
        done: Callable[[Digest, int], None],
    ) -> None:
        """Read all blobs behind `after`; `done` hears of each with its size in bytes."""
        self._last = after

        async def one(digest: Digest) -> None:
            size, finding = await self._check(digest)
            if finding is not None:
                found(finding)
            del self._in_flight[digest]
            self._free.release()
            done(digest, size)

        async with (
            aclosing(self._all(after, found)) as digests,
            asyncio.TaskGroup() as tasks,
        ):
            async for digest in digests:
                await self._free.acquire()
                self._in_flight[digest], self._last = self._last, digest
                tasks.create_task(one(digest))

    async def _all(
        self, after: Digest | None, found: Callable[[Finding], None]
    ) -> AsyncGenerator[Digest, None]:
        """Yield digests that have a folder, one folder `<alg>/<two hex>` after the other."""
        start = "" if after is None else _folder(after)
        for algorithm in await listed(self._driver, found, _algorithms):
            shorts = await listed(self._driver, found, partial(_shorts, algorithm=algorithm))
            for short in shorts:
                # "~" comes behind all hex digits.
                if f"{paths.BLOBS}/{algorithm}/{short}/~" > start:
                    job = partial(_digests, algorithm=algorithm, short=short)
                    for digest in await listed(self._driver, found, job):
                        if _folder(digest) > start:
                            yield digest

    async def _check(self, digest: Digest) -> tuple[int, Finding | None]:
        """Return a blob's size, and what is wrong with it."""
        path = paths.blob(digest)
        try:
            examined = await examine(self._driver, digest, self._pace)
            size = examined.state.size if examined.state else 0
            what = await self._wrong(digest, examined)
        except OSError as error:
            what = f"it can't be read: {reason_of(error)}"
            return 0, Finding(Kind.UNREADABLE, path, what, digest=digest)
        if what is None:
            return size, None
        finding = Finding(Kind.CORRUPT_BLOB, path, what, digest=digest)
        return size, await self._quarantine(digest, finding) if self._repairs else finding

    async def _wrong(self, digest: Digest, examined: Examined) -> str | None:
        if examined.actual == digest:
            return None
        if examined.actual is None:
            there = await self._driver.batch(lambda view: _has_data(view, digest))
            return "its bytes are no file" if there else None
        is_cut = examined.state is not None and not examined.state.size
        return "it was cut to nothing" if is_cut else f"its bytes hash to {examined.actual}"

    async def _quarantine(self, digest: Digest, finding: Finding) -> Finding | None:
        """Move a blob away, unless it is sound when it is read once more."""
        try:
            for _ in range(_ATTEMPTS):
                again = await examine(self._driver, digest, self._pace)
                if await self._wrong(digest, again) is None:
                    return None
                state = again.state
                if await self._driver.exclusively(lambda one: _move(one, digest, state)):  # noqa: B023
                    return finding.mended(f"moved to {paths.quarantined(digest)}")
        except OSError as error:
            return finding.left(f"it could not be moved away: {reason_of(error)}")
        return finding.left("it changes all the time")


def _move(editor: Editor, digest: Digest, state: object) -> bool:
    """Move a blob to quarantine if its file is still the one that was read."""
    path = paths.blob(digest)
    return editor.stat(path) == state and editor.move(path, paths.quarantined(digest))


def _algorithms(listing: Listing) -> list[str]:
    return listing.folders(paths.BLOBS, HEX_LENGTHS.__contains__)


def _shorts(listing: Listing, algorithm: str) -> list[str]:
    return listing.folders(f"{paths.BLOBS}/{algorithm}", _is_short)


def _digests(listing: Listing, algorithm: str, short: str) -> list[Digest]:
    folder = f"{paths.BLOBS}/{algorithm}/{short}"

    def is_ours(name: str) -> bool:
        return name.startswith(short) and is_digest(algorithm, name)

    names = listing.folders(folder, is_ours)
    for name in names:
        listing.folders(f"{folder}/{name}", lambda _: False, {_DATA})
    return [Digest(algorithm, name) for name in names]


def _folder(digest: Digest) -> str:
    return paths.blob(digest).rpartition("/")[0]


def _is_short(name: str) -> bool:
    return len(name) == 2 and set(name) <= set("0123456789abcdef")


def _has_data(view: View, digest: Digest) -> bool:
    return _DATA in view.names(_folder(digest))
