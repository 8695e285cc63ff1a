"""The first stage: the bytes of every blob, in the order of digests, several in parallel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import NamedTuple, TypeAlias

from storage.drivers.base import Driver, ExclusiveEditor, Reader
from storage.errors import raise_if_exhausted, reason_of
from storage.maintenance.scrub.checks.second_look import look_exclusively
from storage.maintenance.scrub.findings import Finding, Found, Kind
from storage.maintenance.scrub.reading.blob_contents import Contents, Examined, examine
from storage.maintenance.scrub.reading.folder_listing import Lister, Listing, is_digest
from storage.maintenance.scrub.reading.read_rate import ReadRate
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest

Done: TypeAlias = Callable[[Digest, int], None]

# Attempts to read a blob that is replaced meanwhile.
_ATTEMPTS = 3
_DATA = "data"


class BlobCheck:
    """Reads blobs, `parallel` at a time, and moves corrupt ones to quarantine if it `repairs`."""

    def __init__(
        self,
        driver: Driver,
        lister: Lister,
        contents: Contents,
        rate: ReadRate,
        *,
        parallel: int,
        repairs: bool,
    ) -> None:
        self._driver = driver
        self._lister = lister
        self._contents = contents
        self._rate = rate
        self._free = asyncio.Semaphore(parallel)
        self._repairs = repairs
        # The digests being read, in order, each with its predecessor.
        self._in_flight: dict[Digest, Digest | None] = {}
        self._last: Digest | None = None

    @property
    def done_up_to(self) -> Digest | None:
        """The last digest up to which all digests are done."""
        return next(iter(self._in_flight.values()), self._last)

    async def run(self, after: Digest | None, found: Found, done: Done) -> None:
        """Check all blobs after `after`; call `done` for each, with its size in bytes.

        Raises OSError if file descriptors or memory are exhausted.
        """
        self._last = after
        try:
            async with aclosing(self._all(after)) as digests, asyncio.TaskGroup() as tasks:
                async for digest in digests:
                    await self._free.acquire()
                    self._in_flight[digest], self._last = self._last, digest
                    tasks.create_task(self._check_and_report(digest, found, done))
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _check_and_report(self, digest: Digest, found: Found, done: Done) -> None:
        size, finding = await self._check(digest)
        if finding is not None:
            found(finding)
        del self._in_flight[digest]
        self._free.release()
        done(digest, size)

    async def _all(self, after: Digest | None) -> AsyncGenerator[Digest, None]:
        """Yield the digests that have a folder, from one folder `<alg>/<two hex>` after another."""
        start = "" if after is None else _folder(after)
        for algorithm in await self._lister.run(_algorithms):
            shorts = await self._lister.run(partial(_shorts, algorithm=algorithm))
            for short in shorts:
                # "~" sorts after all hex digits.
                if f"{paths.BLOBS}/{algorithm}/{short}/~" > start:
                    job = partial(_digests, algorithm=algorithm, short=short)
                    for digest in await self._lister.run(job):
                        if _folder(digest) > start:
                            yield digest

    async def _check(self, digest: Digest) -> tuple[int, Finding | None]:
        """Return a blob's size and its damage, if any."""
        path = paths.blob(digest)
        try:
            for _ in range(_ATTEMPTS):
                examined = await examine(self._driver, digest, self._rate)
                size = examined.state.size if examined.state else 0
                if examined.actual == digest:
                    return size, None
                seen = await look_exclusively(self._driver, partial(_seen, digest, examined))
                if not seen.changed:
                    break
        except OSError as error:
            raise_if_exhausted(error)
            what = f"it cannot be read: {reason_of(error)}"
            return 0, Finding(Kind.UNREADABLE, path, what, digest=digest)
        damage = seen.damage or _persistent_damage(examined, changed=seen.changed)
        if not damage:
            return size, None
        finding = Finding(Kind.CORRUPT_BLOB, path, damage, digest=digest)
        if self._repairs:
            return size, await self._quarantine(digest, finding)
        self._contents.remember_corrupt(digest, examined.state)
        return size, finding

    async def _quarantine(self, digest: Digest, finding: Finding) -> Finding | None:
        """Move a blob to quarantine, unless it is intact when it is read again."""
        try:
            for _ in range(_ATTEMPTS):
                again = await examine(self._driver, digest, self._rate)
                if again.actual == digest:
                    return None
                seen = await self._driver.exclusively(partial(_move, digest, again))
                if not seen.changed:
                    moved = finding.as_repaired(f"moved to {paths.quarantined(digest)}")
                    return moved if seen.damage else None
        except OSError as error:
            raise_if_exhausted(error)
            return finding.as_left(f"could not be moved to quarantine: {reason_of(error)}")
        return finding.as_left("not moved to quarantine: it keeps changing")


class _Seen(NamedTuple):
    """The result of a second look at a blob: whether it `changed` since the first, or its damage.

    A blob without damage has an empty `damage`.
    """

    changed: bool
    damage: str = ""


def _seen(digest: Digest, examined: Examined, reader: Reader) -> _Seen:
    """Return whether a blob changed since its bytes were read; if not, its damage."""
    state = reader.stat(paths.blob(digest))
    if state != examined.state or (state is None) != (examined.actual is None):
        return _Seen(changed=True)
    if state is None:
        damage = "it is not a regular file" if _has_data(reader, digest) else ""
    elif not state.size:
        damage = "it is empty"
    else:
        damage = f"its bytes hash to {examined.actual}"
    return _Seen(changed=False, damage=damage)


def _persistent_damage(examined: Examined, *, changed: bool) -> str:
    """Return the damage of a blob that was corrupt in every attempt, and `changed` after each.

    A push that refers to a blob touches it. A corrupt blob that is pushed again and again would
    always have changed, and would never be reported.
    """
    if not changed or examined.actual is None:
        return ""
    return f"its bytes hash to {examined.actual}"


def _move(digest: Digest, examined: Examined, editor: ExclusiveEditor) -> _Seen:
    """Move a blob to quarantine if it did not change since it was read."""
    seen = _seen(digest, examined, editor)
    if seen.damage:
        editor.move(paths.blob(digest), paths.quarantined(digest))
    return seen


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a task group."""
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


def _has_data(reader: Reader, digest: Digest) -> bool:
    return reader.entry(f"{_folder(digest)}/{_DATA}") is not None
