"""Drivers around a driver, whose changes are made one at a time, and observed or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from storage.drivers.base import (
    Driver,
    ExclusiveEditor,
    Reader,
    StagedFile,
    Staging,
    TouchingReader,
)
from storage.drivers.changes import Appear, Put, PutUnsynced, Step
from storage.drivers.wrapping import (
    WrappedDriver,
    WrappedEditor,
    WrappedReader,
    WrappedStagedFile,
    WrappedStaging,
)
from storage.values.buffers import Buffer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """A call that changes what is stored.

    `kind` is the method. `content` is the bytes written, or the path that is adopted.
    """

    kind: str
    path: str
    content: bytes | str = b""


class ObservedDriver(WrappedDriver):
    """Makes changes one at a time, as a driver may that can do no better; subclasses observe them.

    A subclass overrides `change`.
    """

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.staging = _ObservedStaging(self, inner.staging)

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        """Carry out a change."""
        return await carry_out()

    def streamed(self, path: str, data: bytearray) -> None:
        """Observe bytes that are read back from a staged file."""

    def removed(self, path: str) -> None:
        """Observe a removal under the exclusive lock."""

    async def write(self, path: str, content: bytes) -> None:
        await self.publish((Put(path, content),))

    async def write_unsynced(self, path: str, content: bytes) -> None:
        await self.change(
            Change("unsynced", path, content), lambda: self._inner.write_unsynced(path, content)
        )

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        """Publish the changes one by one."""
        if check is not None:
            await self._inner.publish(check=check)
        found = [await self._publish(one) for step in steps for one in step]
        return tuple(path for paths in found for path in paths)

    async def _publish(self, one: Put | PutUnsynced | Appear) -> tuple[str, ...]:
        if isinstance(one, Appear):
            change = Change("appear", one.path, b"".join(one.files.values()))
        else:
            change = Change("write" if isinstance(one, Put) else "unsynced", one.path, one.content)
        return await self.change(change, lambda: self._inner.publish((one,)))

    async def delete(self, path: str, check: Callable[[Reader], None] | None = None) -> bool:
        return await self.change(Change("delete", path), lambda: self._inner.delete(path, check))

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        """Report all removals of the job as one change."""
        removed: list[str] = []

        def watched(editor: ExclusiveEditor) -> T:
            return job(_ObservedEditor(editor, removed))

        done = await self.change(Change("exclusive", ""), lambda: self._inner.exclusively(watched))
        for path in removed:
            self.removed(path)
        return done


class ObservedReader(WrappedReader):
    """A reader that calls `before` before each read."""

    def __init__(self, inner: Reader, before: Callable[[], object]) -> None:
        super().__init__(inner)
        self._before = before

    def _before_read(self) -> None:
        self._before()


class _ObservedEditor(WrappedEditor):
    def __init__(self, inner: ExclusiveEditor, removed: list[str]) -> None:
        super().__init__(inner)
        self._removed = removed

    def remove(self, path: str) -> bool:
        was_there = super().remove(path)
        if was_there:
            self._removed.append(path)
        return was_there


class _ObservedStaging(WrappedStaging):
    def __init__(self, driver: ObservedDriver, inner: Staging) -> None:
        super().__init__(inner)
        self._driver = driver

    async def create(self, path: str, files: Mapping[str, bytes]) -> None:
        """Write the files one by one, then create, as a driver may that can do no better."""
        for file, content in files.items():
            await self._driver.write_unsynced(file, content)
        await self._driver.change(Change("create", path), lambda: self._inner.create(path, {}))

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[StagedFile]:
        async with self._inner.open(path) as staged:
            yield _ObservedFile(self._driver, path, staged)

    async def discard(self, path: str) -> None:
        await self._driver.change(Change("discard", path), lambda: self._inner.discard(path))


class _ObservedFile(WrappedStagedFile):
    def __init__(self, driver: ObservedDriver, path: str, inner: StagedFile) -> None:
        super().__init__(inner)
        self._driver = driver
        self._path = path

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        change = Change("append", self._path, bytes(data))
        await self._driver.change(change, lambda: self._inner.append(data, observe))

    async def truncate(self, length: int) -> None:
        change = Change("truncate", self._path, str(length))
        await self._driver.change(change, lambda: self._inner.truncate(length))

    async def sync(self) -> None:
        await self._driver.change(Change("sync", self._path), self._inner.sync)

    async def replay(self, start: int, observe: Callable[[bytearray], None]) -> None:
        def seen(data: bytearray) -> None:
            self._driver.streamed(self._path, data)
            observe(data)

        await self._inner.replay(start, seen)

    async def adopt(self, target: str, *then: Step) -> None:
        change = Change("adopt", target, self._path)
        await self._driver.change(change, lambda: self._inner.adopt(target))
        await self._driver.publish(*then)


class RecordingDriver(ObservedDriver):
    """Records every change, and counts the bytes read back from staged files."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.changes: list[Change] = []
        self.read_back = 0

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        done = await carry_out()
        if change.kind != "exclusive":
            self.changes.append(change)
        return done

    def removed(self, path: str) -> None:
        self.changes.append(Change("delete", path))

    def streamed(self, path: str, data: bytearray) -> None:
        self.read_back += len(data)

    def durable(self) -> list[tuple[str, str]]:
        """Return the changes that readers of the registry can see, in order."""
        kinds = {"write", "appear", "adopt", "delete"}
        return [(one.kind, one.path) for one in self.changes if one.kind in kinds]


class Crash(Exception):
    """The process ends here."""


class CrashingDriver(ObservedDriver):
    """Crashes in place of one change, and refuses all further ones.

    `at` is that change's number, counted from 0, or its kind. `tear` is called first, to leave
    what an interrupted change would leave.
    """

    def __init__(
        self, inner: Driver, at: int | str, tear: Callable[[Change], None] = lambda _: None
    ) -> None:
        super().__init__(inner)
        self._at = at
        self._number = 0
        self._tear = tear
        self.crashed_at: Change | None = None

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        if self.crashed_at is not None:
            raise Crash
        if self._at in (self._number, change.kind):
            self.crashed_at = change
            await asyncio.to_thread(self._tear, change)
            raise Crash
        self._number += 1
        return await carry_out()
