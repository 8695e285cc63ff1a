"""The first stage: the bytes of every blob, in the order of digests, several at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

from storage import paths
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, Editor, View
from storage.errors import raise_if_exhausted, reason_of
from storage.maintenance.scrub.contents import Contents, Examined, examine
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.listing import Lister, Listing, is_digest
from storage.maintenance.scrub.pace import Pace
from storage.maintenance.scrub.second_look import undisturbed

# Blobs are replaced while they are read by nobody for long.
_ATTEMPTS = 3
_DATA = "data"


class BlobCheck:
    """Reads blobs, at most `parallel` at once, and moves corrupt ones away if it `repairs`."""

    def __init__(
        self,
        driver: Driver,
        lister: Lister,
        contents: Contents,
        pace: Pace,
        *,
        parallel: int,
        repairs: bool,
    ) -> None:
        self._driver = driver
        self._lister = lister
        self._contents = contents
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
        """Read all blobs behind `after`; `done` hears of each with its size in bytes.

        Raises OSError for lack of descriptors or memory.
        """
        try:
            await self._run(after, found, done)
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _run(
        self,
        after: Digest | None,
        found: Callable[[Finding], None],
        done: Callable[[Digest, int], None],
    ) -> None:
        self._last = after

        async def one(digest: Digest) -> None:
            size, finding = await self._check(digest)
            if finding is not None:
                found(finding)
            del self._in_flight[digest]
            self._free.release()
            done(digest, size)

        async with (
            aclosing(self._all(after)) as digests,
            asyncio.TaskGroup() as tasks,
        ):
            async for digest in digests:
                await self._free.acquire()
                self._in_flight[digest], self._last = self._last, digest
                tasks.create_task(one(digest))

    async def _all(self, after: Digest | None) -> AsyncGenerator[Digest, None]:
        """Yield digests that have a folder, one folder `<alg>/<two hex>` after the other."""
        start = "" if after is None else _folder(after)
        for algorithm in await self._lister.run(_algorithms):
            shorts = await self._lister.run(partial(_shorts, algorithm=algorithm))
            for short in shorts:
                # "~" comes behind all hex digits.
                if f"{paths.BLOBS}/{algorithm}/{short}/~" > start:
                    job = partial(_digests, algorithm=algorithm, short=short)
                    for digest in await self._lister.run(job):
                        if _folder(digest) > start:
                            yield digest

    async def _check(self, digest: Digest) -> tuple[int, Finding | None]:
        """Return a blob's size, and what is wrong with it."""
        path = paths.blob(digest)
        try:
            for _ in range(_ATTEMPTS):
                examined = await examine(self._driver, digest, self._pace)
                size = examined.state.size if examined.state else 0
                if examined.actual == digest:
                    return size, None
                seen = await undisturbed(self._driver, partial(_seen, digest, examined))
                if not seen.changed:
                    break
        except OSError as error:
            raise_if_exhausted(error)
            what = f"it can't be read: {reason_of(error)}"
            return 0, Finding(Kind.UNREADABLE, path, what, digest=digest)
        wrong = seen.wrong or _wrong_each_time(examined, changed=seen.changed)
        if not wrong:
            return size, None
        finding = Finding(Kind.CORRUPT_BLOB, path, wrong, digest=digest)
        if self._repairs:
            return size, await self._quarantine(digest, finding)
        self._contents.recall(digest, examined.state)
        return size, finding

    async def _quarantine(self, digest: Digest, finding: Finding) -> Finding | None:
        """Move a blob away, unless it is sound when it is read once more."""
        try:
            for _ in range(_ATTEMPTS):
                again = await examine(self._driver, digest, self._pace)
                if again.actual == digest:
                    return None
                seen = await self._driver.exclusively(partial(_move, digest, again))
                if not seen.changed:
                    moved = finding.mended(f"moved to {paths.quarantined(digest)}")
                    return moved if seen.wrong else None
        except OSError as error:
            raise_if_exhausted(error)
            return finding.left(f"it could not be moved away: {reason_of(error)}")
        return finding.left("it changes all the time")


class _Seen(NamedTuple):
    """What a second look at a blob found: whether it `changed` since the first, else its fault."""

    changed: bool
    wrong: str = ""


def _seen(digest: Digest, examined: Examined, view: View) -> _Seen:
    """Tell whether a blob changed since its bytes were read; if not, what is wrong with it."""
    state = view.stat(paths.blob(digest))
    if state != examined.state or (state is None) != (examined.actual is None):
        return _Seen(changed=True)
    if state is None:
        wrong = "its bytes are no file" if _has_data(view, digest) else ""
    elif not state.size:
        wrong = "it was cut to nothing"
    else:
        wrong = f"its bytes hash to {examined.actual}"
    return _Seen(changed=False, wrong=wrong)


def _wrong_each_time(examined: Examined, *, changed: bool) -> str:
    """Tell what is wrong with bytes that were wrong at every reading, and `changed` after each.

    A push that refers to a blob refreshes its modification time. A corrupt one that is pushed all
    the time would never hold still, and would never be found.
    """
    if not changed or examined.actual is None:
        return ""
    return f"its bytes hash to {examined.actual}"


def _move(digest: Digest, examined: Examined, editor: Editor) -> _Seen:
    """Move a blob to quarantine if it is still the one that was read."""
    seen = _seen(digest, examined, editor)
    if seen.wrong:
        editor.move(paths.blob(digest), paths.quarantined(digest))
    return seen


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group of tasks."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


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
        listing.check(f"{folder}/{name}", lambda _: False, {_DATA})
    return [Digest(algorithm, name) for name in names]


def _folder(digest: Digest) -> str:
    return paths.blob(digest).rpartition("/")[0]


def _is_short(name: str) -> bool:
    return len(name) == 2 and set(name) <= set("0123456789abcdef")


def _has_data(view: View, digest: Digest) -> bool:
    return view.entry(f"{_folder(digest)}/{_DATA}") is not None
