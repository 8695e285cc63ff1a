"""The promises of `storage.drivers.base`, as tests that every driver passes.

A driver joins with a class that inherits `DriverContract` and has a fixture `new_driver`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from operator import methodcaller

import pytest

from storage.drivers.base import CHUNK, SMALL, Driver, Reader, StagedFile, StagingBusy
from storage.drivers.changes import Appear, Put, Step
from storage.errors import PathNotFound
from storage.values.buffers import Buffer
from tests.storage.streams import cancelled_after, joined

SIZES = (0, 1, SMALL - 1, SMALL, SMALL + 1, CHUNK + 3)
BIG = bytes(range(251)) * (2 * CHUNK // 251 + 7)

# Other programs may create entries with any name.
STRANGE_NAMES = (
    "_x",
    "..x",
    " ",
    "a b",
    "é",
    "日本",
    "-",
    "%2F",
    "x" * 200,
    ".hidden",
    "new\nline",
)


def _ignore(_: Buffer) -> None:
    """Do nothing."""


async def _held(staged: StagedFile, start: int = 0) -> bytes:
    seen = bytearray()
    await staged.replay(start, seen.extend)
    return bytes(seen)


async def _stage(driver: Driver, path: str, content: bytes) -> None:
    await driver.staging.create(path, {})
    async with driver.staging.open(path) as staged:
        await staged.append(bytearray(content), _ignore)


async def _staged(driver: Driver, path: str) -> bytes:
    async with driver.staging.open(path) as staged:
        return await _held(staged)


class DriverContract:
    """The conformance tests. A subclass provides the driver."""

    @pytest.fixture
    async def driver(self, new_driver: Driver) -> AsyncIterator[Driver]:
        """Yield the driver, and close it."""
        yield new_driver
        await new_driver.close()

    # Files

    @pytest.mark.parametrize("size", SIZES)
    async def test_written_content_is_read_back(self, driver: Driver, size: int) -> None:
        """A file of any size reads back as the bytes that were written."""
        content = BIG[:size]
        await driver.write("a/b/file", content)
        assert await driver.read("a/b/file", CHUNK * 2) == content
        found = await driver.stat("a/b/file")
        assert found is not None
        assert found.size == size

    async def test_a_read_is_cut_after_its_limit(self, driver: Driver) -> None:
        """A read returns at most `limit` bytes, SMALL by default."""
        await driver.write("file", BIG)
        assert await driver.read("file") == BIG[:SMALL]
        for limit in (1, SMALL, SMALL + 1, CHUNK):
            assert await driver.read("file", limit) == BIG[:limit]

    async def test_missing_files_are_not_found(self, driver: Driver) -> None:
        """A missing path, a folder, and a path below a file are no files."""
        await driver.write("folder/file", b"x")
        for path in ("nothing", "folder", "folder/nothing", "folder/file/below"):
            with pytest.raises(PathNotFound):
                await driver.read(path)
            with pytest.raises(PathNotFound):
                await driver.read(path, CHUNK)
            with pytest.raises(PathNotFound):
                await driver.open(path)
            assert await driver.stat(path) is None

    async def test_stat_returns_the_mtime_of_a_file(self, driver: Driver) -> None:
        """`modified` is in seconds since 1970, and does not decrease."""
        await driver.write("file", b"1")
        first = await driver.stat("file")
        await driver.write("file", b"2")
        second = await driver.stat("file")
        assert first is not None
        assert second is not None
        assert abs(first.modified - time.time()) < 86_400
        assert second.modified >= first.modified

    async def test_files_and_folders_exist(self, driver: Driver) -> None:
        """A file and its parents exist; a path that is only a prefix does not."""
        await driver.write("one/two/file", b"")
        for path in ("one", "one/two", "one/two/file"):
            assert await driver.exists(path)
        for path in ("on", "one/tw", "one/two/fil", "one/two/file/x", "two"):
            assert not await driver.exists(path)

    async def test_a_write_replaces_the_whole_file(self, driver: Driver) -> None:
        """Nothing of a longer content remains after a shorter one."""
        for content in (b"long content", b"short", b""):
            await driver.write("x/link", content)
            assert await driver.read("x/link") == content

    async def test_an_unsynced_write_is_read_like_any_file(self, driver: Driver) -> None:
        """An unsynced write replaces a file and is read back."""
        await driver.write("n/note", b"before")
        await driver.write_unsynced("n/note", b"after")
        assert await driver.read("n/note") == b"after"
        assert await driver.delete("n/note")

    async def test_writes_are_atomic_for_readers(self, driver: Driver) -> None:
        """While a file is replaced repeatedly, every read returns one whole content."""
        contents = [bytes([letter]) * (SMALL * 3) for letter in b"abc"]
        await driver.write("file", contents[0])
        writing = asyncio.create_task(self._write_all(driver, contents * 20))
        seen = set()
        while not writing.done():
            seen.add(await driver.read("file", CHUNK))
            file = await driver.open("file")
            seen.add(await joined(file.stream(0, file.size)))
            await file.close()
            seen.add(await driver.batch(lambda reader: reader.read("file", CHUNK)))
            await asyncio.sleep(0)
        await writing
        assert seen <= set(contents)

    async def _write_all(self, driver: Driver, contents: list[bytes]) -> None:
        for content in contents:
            await driver.write("file", content)

    async def test_concurrent_writes_leave_one_whole_content(self, driver: Driver) -> None:
        """One of several writes to a path wins; none is torn, and no temporary file is left."""
        contents = [bytes([number]) * (SMALL + number) for number in range(12)]
        await asyncio.gather(*(driver.write("d/e/file", content) for content in contents))
        assert await driver.read("d/e/file", CHUNK) in contents
        assert await driver.batch(lambda reader: reader.names("d/e")) == ["file"]

    # Deleting

    async def test_delete_returns_whether_the_file_existed(self, driver: Driver) -> None:
        """The second deletion of a file returns False."""
        await driver.write("a/file", b"x")
        await driver.write("a/file2", b"y")
        assert await driver.delete("a/file") is True
        assert await driver.delete("a/file") is False
        assert await driver.delete("nothing") is False
        assert await driver.delete("a/file2/below") is False
        assert await driver.stat("a/file") is None
        assert await driver.read("a/file2") == b"y"

    async def test_deleting_a_folder_deletes_its_content(self, driver: Driver) -> None:
        """Everything below is deleted; a sibling with the same prefix stays."""
        for path in ("t/v1/current/link", "t/v1/index/a/link", "t/v1", "t/v1-a/link", "t/v10"):
            if path != "t/v1":
                await driver.write(path, b"x")
        assert await driver.delete("t/v1") is True
        assert not await driver.exists("t/v1")
        assert sorted(await driver.batch(lambda reader: reader.names("t"))) == ["v1-a", "v10"]
        assert await driver.delete("t/v1") is False

    async def test_deleting_a_folder_is_atomic_for_readers(self, driver: Driver) -> None:
        """Once a reader misses one file of a folder, it finds none of the others."""
        files = [f"folder/{number}/link" for number in range(30)]
        for _ in range(3):
            await asyncio.gather(*(driver.write(path, b"x") for path in files))
            watching = asyncio.create_task(driver.batch(lambda reader: _watch(reader, files)))
            await asyncio.sleep(0)
            assert await driver.delete("folder")
            survivors = await watching
            assert survivors == []

    async def test_a_write_and_the_removal_of_its_folder_both_succeed(self, driver: Driver) -> None:
        """A concurrent write survives the removal of its parent, or is deleted with it."""
        path = "tags/v1/index/sha256/x/link"
        for _ in range(25):
            await asyncio.gather(driver.write(path, b"x"), driver.delete("tags/v1"))
            assert await driver.stat(path) is not None or not await driver.exists(path)
        await driver.write(path, b"y")
        assert await driver.read(path) == b"y"

    # Reading in ranges

    @pytest.mark.parametrize(
        ("start", "stop"),
        [(0, 0), (0, 1), (0, len(BIG)), (5, 5), (1, CHUNK), (CHUNK - 1, CHUNK + 1), (7, len(BIG))],
    )
    async def test_a_range_is_streamed(self, driver: Driver, start: int, stop: int) -> None:
        """A range is complete, in pieces of at most CHUNK."""
        await driver.write("file", BIG)
        file = await driver.open("file")
        assert file.size == len(BIG)
        pieces = [piece async for piece in file.stream(start, stop)]
        await file.close()
        assert b"".join(pieces) == BIG[start:stop]
        assert all(0 < len(piece) <= CHUNK for piece in pieces)

    async def test_an_open_file_is_read_twice_and_closed_twice(self, driver: Driver) -> None:
        """Ranges may be read in any order, and a second close does nothing."""
        await driver.write("file", b"0123456789")
        file = await driver.open("file")
        assert await joined(file.stream(5, 10)) == b"56789"
        assert await joined(file.stream(0, 3)) == b"012"
        await file.close()
        await file.close()

    async def test_an_open_file_outlives_its_path(self, driver: Driver) -> None:
        """The bytes stay readable when the path is replaced, or it or its folder is deleted."""
        await driver.write("folder/file", BIG)
        readers = [await driver.open("folder/file") for _ in range(3)]
        for reader, change in zip(
            readers,
            (driver.write("folder/file", b"new"), driver.delete("folder/file")),
            strict=False,
        ):
            await change
            assert await joined(reader.stream(0, reader.size)) == BIG
        assert not await driver.delete("folder/file")
        await driver.delete("folder")
        assert await joined(readers[2].stream(3, len(BIG))) == BIG[3:]
        for reader in readers:
            await reader.close()

    # Batches

    async def test_a_batch_returns_and_raises_what_its_job_does(self, driver: Driver) -> None:
        """The job's result is returned, and its error is raised."""
        assert await driver.batch(lambda _: 42) == 42
        with pytest.raises(ZeroDivisionError):
            await driver.batch(lambda _: 1 // 0)

    async def test_a_reader_reads_as_the_driver_does(self, driver: Driver) -> None:
        """`read` and `stat` of a reader return what the driver's return."""
        await driver.write("folder/file", BIG[: SMALL * 2])
        assert await driver.batch(lambda reader: reader.read("folder/file")) == BIG[:SMALL]
        assert await driver.batch(lambda reader: reader.stat("folder/file")) == await driver.stat(
            "folder/file"
        )
        for path in ("folder", "nothing", "folder/file/below"):
            assert await driver.batch(methodcaller("stat", path)) is None
            with pytest.raises(PathNotFound):
                await driver.batch(methodcaller("read", path))

    async def test_names_are_the_direct_entries(self, driver: Driver) -> None:
        """Each entry is named once; missing folders and files have no entries."""
        for path in ("f/a/1", "f/a/2", "f/b", "f/ab/c/d", "g"):
            await driver.write(path, b"")
        assert sorted(await driver.batch(lambda reader: reader.names("f"))) == ["a", "ab", "b"]
        for path in ("nothing", "g", "g/below", "f/b"):
            assert await driver.batch(methodcaller("names", path)) == []

    async def test_folders_are_the_entries_that_have_entries(self, driver: Driver) -> None:
        """Each folder is named once, files are not; missing folders and files have none."""
        for path in ("f/a/1", "f/a/2", "f/b", "f/ab/c/d", "f/.x/y", "g"):
            await driver.write(path, b"")
        assert sorted(await driver.batch(lambda reader: reader.folders("f"))) == [".x", "a", "ab"]
        for path in ("nothing", "g", "g/below", "f/b", "f/a"):
            assert await driver.batch(methodcaller("folders", path)) == []

    async def test_entries_are_the_names_and_whether_they_are_folders(self, driver: Driver) -> None:
        """`entries` agrees with `names` and `folders`; missing folders and files have none."""
        for path in ("f/a/1", "f/a/2", "f/b", "f/ab/c/d", "f/.x/y", "g"):
            await driver.write(path, b"")
        for path in ("f", "f/a", "nothing", "g", "g/below", "f/b"):
            found = await driver.batch(lambda reader: list(reader.entries(path)))  # noqa: B023
            names = await driver.batch(methodcaller("names", path))
            folders = await driver.batch(methodcaller("folders", path))
            assert sorted(found) == [(name, name in folders) for name in sorted(names)]

    async def test_one_entry_is_what_entries_yields_for_it(self, driver: Driver) -> None:
        """`entry` agrees with `entries` for a file, a folder, and a missing path."""
        for path in ("f/a/1", "f/b"):
            await driver.write(path, b"")
        for path in ("f/a", "f/b", "f/ab", "nothing/a", "f/b/a"):
            folder, _, name = path.rpartition("/")
            found = await driver.batch(lambda reader: list(reader.entries(folder)))  # noqa: B023
            expected = next((one for one in found if one.name == name), None)
            assert await driver.batch(methodcaller("entry", path)) == expected

    async def test_strange_names_are_listed_unchanged(self, driver: Driver) -> None:
        """Entries that another program created are listed, whatever their names."""
        for name in STRANGE_NAMES:
            await driver.write(f"f/{name}", b"")
        assert set(await driver.batch(lambda reader: reader.names("f"))) == set(STRANGE_NAMES)

    async def test_modified_changes_when_an_entry_is_added(self, driver: Driver) -> None:
        """`modified` is None, or changes when an entry is added; None for a missing folder."""
        await driver.write("f/a", b"")
        before = await driver.batch(lambda reader: reader.modified("f"))
        await asyncio.sleep(0.02)
        await driver.write("f/b", b"")
        after = await driver.batch(lambda reader: reader.modified("f"))
        assert (before is None and after is None) or before != after
        assert await driver.batch(lambda reader: reader.modified("nothing")) is None

    # Staging

    async def test_a_staged_file_begins_empty(self, driver: Driver) -> None:
        """A new staged file is empty and not locked."""
        await driver.staging.create("u/1/data", {})
        assert await driver.staging.length("u/1/data") == 0
        assert await _staged(driver, "u/1/data") == b""

    async def test_missing_staged_files_are_not_found(self, driver: Driver) -> None:
        """No length and no lock without `create`, nor for a folder or a path below a file."""
        await driver.write("u/folder/file", b"x")
        for path in ("u/nothing", "u/folder/file/data", "u/folder"):
            with pytest.raises(PathNotFound):
                await driver.staging.length(path)
            with pytest.raises(PathNotFound):
                await _staged(driver, path)

    async def test_appended_bytes_are_stored_and_observed(self, driver: Driver) -> None:
        """Each append is stored at the end, observed once and in order, and kept after closing."""
        await driver.staging.create("u/1/data", {})
        seen = bytearray()
        for piece in (b"abc", b"", BIG, b"xyz"):
            async with driver.staging.open("u/1/data") as staged:
                before = staged.length
                await staged.append(bytearray(piece), seen.extend)
                assert staged.length == before + len(piece)
                await staged.sync()
            assert await driver.staging.length("u/1/data") == len(seen)
        assert bytes(seen) == b"abc" + BIG + b"xyz"
        assert await _staged(driver, "u/1/data") == bytes(seen)

    async def test_appends_and_replays_alternate(self, driver: Driver) -> None:
        """One holder appends repeatedly, and replays its bytes from any offset."""
        await driver.staging.create("u/1/data", {})
        async with driver.staging.open("u/1/data") as staged:
            for number in range(50):
                await staged.append(bytearray([number] * number), _ignore)
            content = b"".join(bytes([number] * number) for number in range(50))
            assert staged.length == len(content)
            for start in (0, 1, 600, len(content) - 1, len(content)):
                assert await _held(staged, start) == content[start:]

    async def test_appended_bytes_are_copied(self, driver: Driver) -> None:
        """Changing the buffer after an append changes nothing that is stored."""
        await driver.staging.create("u/1/data", {})
        buffer = bytearray(b"before")
        async with driver.staging.open("u/1/data") as staged:
            await staged.append(buffer, _ignore)
            buffer[:] = b"after!"
        assert await _staged(driver, "u/1/data") == b"before"

    async def test_a_failed_append_stores_nothing(self, driver: Driver) -> None:
        """When an append raises, none of its data is stored, then or later."""

        def fail(_: Buffer) -> None:
            raise MemoryError

        await _stage(driver, "u/1/data", b"before")
        async with driver.staging.open("u/1/data") as staged:
            with pytest.raises(MemoryError):
                await staged.append(bytearray(b"lost"), fail)
            assert staged.length == len(b"before")
        assert await driver.staging.length("u/1/data") == len(b"before")
        assert await _staged(driver, "u/1/data") == b"before"

    @pytest.mark.parametrize("length", [0, 1, 5, 10])
    async def test_truncating_drops_the_end(self, driver: Driver, length: int) -> None:
        """After a truncation appends continue from the new end."""
        await _stage(driver, "u/1/data", b"0123456789")
        async with driver.staging.open("u/1/data") as staged:
            await staged.truncate(length)
            assert staged.length == length
            await staged.append(bytearray(b"new"), _ignore)
        assert await _staged(driver, "u/1/data") == b"0123456789"[:length] + b"new"

    async def test_adopting_publishes_the_staged_bytes(self, driver: Driver) -> None:
        """The target has the bytes, replacing others; the staged file is gone."""
        for content in (BIG, b"", b"small"):
            await _stage(driver, "u/1/data", content)
            async with driver.staging.open("u/1/data") as staged:
                await staged.adopt("blobs/x/data")
            assert await driver.read("blobs/x/data", len(BIG) + 1) == content
            with pytest.raises(PathNotFound):
                await driver.staging.length("u/1/data")
            with pytest.raises(PathNotFound):
                await _staged(driver, "u/1/data")

    async def test_adopting_is_atomic_for_readers(self, driver: Driver) -> None:
        """A reader of the target gets the old bytes or the new ones, and keeps what it opened."""
        await driver.write("blobs/x/data", b"old" * SMALL)
        old = await driver.open("blobs/x/data")
        await _stage(driver, "u/1/data", BIG)
        async with driver.staging.open("u/1/data") as staged:
            adopting = asyncio.create_task(staged.adopt("blobs/x/data"))
            seen = set()
            while not adopting.done():
                seen.add(await driver.read("blobs/x/data", len(BIG) + 1))
                await asyncio.sleep(0)
            await adopting
        assert seen <= {b"old" * SMALL, BIG}
        assert await joined(old.stream(0, old.size)) == b"old" * SMALL
        await old.close()

    async def test_a_staged_file_has_one_holder(self, driver: Driver, impatient: None) -> None:
        """While it is locked, a second `open` waits, then raises StagingBusy."""
        await _stage(driver, "u/1/data", b"x")
        async with driver.staging.open("u/1/data") as staged:
            with pytest.raises(StagingBusy):
                await _staged(driver, "u/1/data")
            assert await driver.staging.length("u/1/data") == 1
            await staged.append(bytearray(b"y"), _ignore)
        assert await _staged(driver, "u/1/data") == b"xy"

    async def test_holders_take_turns(self, driver: Driver) -> None:
        """Waiting callers get the lock one after another, and each finds what the last one left."""
        await driver.staging.create("u/1/data", {})
        inside = 0

        async def add() -> None:
            nonlocal inside
            async with driver.staging.open("u/1/data") as staged:
                inside += 1
                assert inside == 1
                await staged.append(bytearray(b"x" * (staged.length + 1)), _ignore)
                inside -= 1

        await asyncio.gather(*(add() for _ in range(4)))
        assert await driver.staging.length("u/1/data") == 15

    async def test_locks_of_staged_files_are_independent(self, driver: Driver) -> None:
        """Sessions do not wait for each other."""
        await _stage(driver, "u/1/data", b"1")
        await _stage(driver, "u/11/data", b"11")
        async with driver.staging.open("u/1/data"):
            assert await _staged(driver, "u/11/data") == b"11"

    async def test_a_failing_holder_releases_the_lock(
        self, driver: Driver, impatient: None
    ) -> None:
        """An error or a cancellation of the holder releases the lock."""
        await _stage(driver, "u/1/data", b"x")

        async def hold(error: BaseException) -> None:
            async with driver.staging.open("u/1/data"):
                raise error

        with pytest.raises(ZeroDivisionError):
            await hold(ZeroDivisionError())
        with pytest.raises(asyncio.CancelledError):
            await hold(asyncio.CancelledError())
        assert await _staged(driver, "u/1/data") == b"x"

    @pytest.mark.parametrize("ticks", range(6))
    async def test_a_cancelled_open_releases_the_lock(
        self, driver: Driver, impatient: None, ticks: int
    ) -> None:
        """Whenever an `open` is cancelled, the next one gets the lock."""
        await _stage(driver, "u/1/data", b"x")
        await cancelled_after(ticks, _staged(driver, "u/1/data"))
        assert await _staged(driver, "u/1/data") == b"x"

    async def test_a_waiter_of_an_ended_session_gets_path_not_found(self, driver: Driver) -> None:
        """A caller that waited while the holder adopted or discarded the file gets PathNotFound."""
        for end in ("adopt", "discard"):
            await _stage(driver, f"u/{end}/data", b"x")
            async with driver.staging.open(f"u/{end}/data") as staged:
                waiting = asyncio.create_task(_staged(driver, f"u/{end}/data"))
                await asyncio.sleep(0.01)
                if end == "adopt":
                    await staged.adopt("blobs/y/data")
                else:
                    await driver.staging.discard(f"u/{end}")
            with pytest.raises(PathNotFound):
                await waiting

    async def test_discarding_a_note_removes_only_that(self, driver: Driver) -> None:
        """A single file may be discarded; its siblings stay."""
        await driver.write_unsynced("u/1/hashstates/sha256/0", b"0")
        await driver.write_unsynced("u/1/hashstates/sha256/10", b"10")
        await driver.staging.discard("u/1/hashstates/sha256/0")
        assert await driver.batch(lambda reader: reader.names("u/1/hashstates/sha256")) == ["10"]

    async def test_discarding_removes_a_session_s_folder(self, driver: Driver) -> None:
        """The whole folder is removed; discarding it again is no error; other sessions stay."""
        await _stage(driver, "u/1/data", b"x")
        await driver.write_unsynced("u/1/startedat", b"now")
        await _stage(driver, "u/11/data", b"y")
        for _ in range(2):
            await driver.staging.discard("u/1")
            assert not await driver.exists("u/1")
        await driver.staging.discard("nowhere/at/all")
        assert await _staged(driver, "u/11/data") == b"y"
        with pytest.raises(PathNotFound):
            await driver.staging.length("u/1/data")

    @pytest.mark.parametrize("ticks", range(8))
    async def test_a_cancelled_append_is_all_or_nothing(self, driver: Driver, ticks: int) -> None:
        """Whenever an append is cancelled, its data is stored and was observed, or neither."""
        await _stage(driver, "u/1/data", b"before")
        seen: list[int] = []
        async with driver.staging.open("u/1/data") as staged:
            appending = staged.append(bytearray(BIG), lambda data: seen.append(len(data)))
            await cancelled_after(ticks, appending)
            held = staged.length
            assert held == len(b"before") + sum(seen)
            await staged.append(bytearray(b"after"), _ignore)
        expected = b"before" + (BIG if seen else b"") + b"after"
        assert await _staged(driver, "u/1/data") == expected

    async def test_folder_locks_are_exclusive(self, driver: Driver) -> None:
        """Callers that read, wait and write under a lock lose none of each other's results."""
        await driver.write("counted/so/far", b"0")

        async def count() -> None:
            async with driver.lock("counted"):
                before = int(await driver.read("counted/so/far"))
                await asyncio.sleep(0.001)
                await driver.write("counted/so/far", str(before + 1).encode())

        await asyncio.gather(*(count() for _ in range(12)))
        assert await driver.read("counted/so/far") == b"12"

    async def test_locking_a_missing_folder_fails(self, driver: Driver) -> None:
        """Locking creates no folder."""
        with pytest.raises(PathNotFound):
            async with driver.lock("missing/folder"):
                raise AssertionError("it was locked")
        assert await driver.batch(lambda reader: reader.names("missing")) == []

    # Publishing

    async def test_published_changes_are_readable(self, driver: Driver) -> None:
        """All changes of all steps are readable, in existing folders and in new ones."""
        await driver.write("a/old", b"old")
        assert await driver.publish() == ()
        assert await driver.publish((), (Put("a/old", b"new"), Put("b/c/d", BIG)), ()) == ()
        assert await driver.publish((Appear("e/f", {"g": b"1", "h/i": b"2"}),)) == ()
        expected = {"a/old": b"new", "b/c/d": BIG, "e/f/g": b"1", "e/f/h/i": b"2"}
        for path, content in expected.items():
            assert await driver.read(path, CHUNK * 3) == content

    async def test_the_last_step_wins(self, driver: Driver) -> None:
        """A file that several steps put has the content of the last one."""
        await driver.publish(*((Put("a/file", b"%d" % number),) for number in range(5)))
        assert await driver.read("a/file") == b"4"
        assert await driver.batch(lambda reader: reader.names("a")) == ["file"]

    async def test_a_reader_sees_steps_in_order(self, driver: Driver) -> None:
        """A reader that sees a step sees all earlier ones, while others publish concurrently."""
        for _ in range(3):
            steps: list[Step] = [(Put(f"s/{step}/link", b"x"),) for step in range(12)]
            steps[6] = (Appear("s/6", {"link": b"x", "other/link": b"x"}),)
            watching = asyncio.create_task(driver.batch(_watch_steps))
            await asyncio.sleep(0)
            others = [driver.publish((Put(f"other/{n}", b"x"),)) for n in range(4)]
            await asyncio.gather(driver.publish(*steps), *others)
            assert await watching == []
            await driver.delete("s")

    async def test_a_failing_check_prevents_all_changes(self, driver: Driver) -> None:
        """The check reads first; its error is raised, and nothing is changed."""

        def check(reader: Reader) -> None:
            if reader.stat("wanted") is None:
                raise LookupError

        with pytest.raises(LookupError):
            await driver.publish((Put("a/b", b""),), (Appear("c", {"d": b""}),), check=check)
        for path in ("a", "c"):
            assert not await driver.exists(path)
        await driver.write("wanted", b"")
        await driver.publish((Put("a/b", b""),), check=check)
        assert await driver.exists("a/b")

    async def test_an_existing_folder_is_reported_and_kept(self, driver: Driver) -> None:
        """A folder that is not empty is kept; all other changes are made."""
        await driver.write("tags/b/link", b"old")
        told = await driver.publish(
            (Put("first", b"1"),),
            tuple(Appear(f"tags/{name}", {"link": b"new"}) for name in "abc"),
            (Put("last", b"1"),),
        )
        assert told == ("tags/b",)
        for name, content in (("a", b"new"), ("b", b"old"), ("c", b"new")):
            assert await driver.read(f"tags/{name}/link") == content
        assert await driver.exists("first")
        assert await driver.exists("last")

    async def test_one_of_several_folders_appears_whole(self, driver: Driver) -> None:
        """One of several concurrent `Appear` changes wins, and only its files exist."""
        told = await asyncio.gather(
            *(
                driver.publish((Appear("tag", {"current/link": n, "index/a/link": n}),))
                for n in (b"1", b"2", b"3")
            )
        )
        assert sorted(told) == [(), ("tag",), ("tag",)]
        winner = str(told.index(()) + 1).encode()
        assert await driver.read("tag/current/link") == winner
        assert await driver.read("tag/index/a/link") == winner
        assert sorted(await driver.batch(lambda reader: reader.names("tag"))) == [
            "current",
            "index",
        ]

    async def test_a_folder_can_appear_again(self, driver: Driver) -> None:
        """A folder can appear again after its deletion."""
        assert not await driver.publish((Appear("tags/v1", {"current/link": b"1"}),))
        await driver.delete("tags/v1")
        assert not await driver.publish((Appear("tags/v1", {"current/link": b"2"}),))
        assert await driver.read("tags/v1/current/link") == b"2"

    async def test_publications_succeed_while_their_folders_are_deleted(
        self, driver: Driver
    ) -> None:
        """Every publication succeeds, and its last step stays, while parents are deleted."""

        async def publish(number: int) -> None:
            await driver.publish(
                (Put(f"shared/{number % 2}/a/link", b"x"),),
                (Appear(f"shared/{number % 2}/{number}", {"c/link": b"x"}),),
                (Put(f"kept/{number}", b"x"),),
            )

        for _ in range(6):
            await asyncio.gather(
                *(publish(number) for number in range(6)),
                *(driver.delete(f"shared/{number % 2}") for number in range(6)),
            )
        assert len(await driver.batch(lambda reader: reader.names("kept"))) == 6

    async def test_adopting_is_followed_by_the_steps(self, driver: Driver) -> None:
        """The steps become visible after the adoption; the session's folder is removed."""
        notes = {"u/1/startedat": b"now", "u/1/states/0": b"state"}
        await driver.staging.create("u/1/data", notes)
        assert await driver.read("u/1/startedat") == b"now"
        assert await driver.read("u/1/states/0") == b"state"
        async with driver.staging.open("u/1/data") as staged:
            await staged.append(bytearray(BIG), _ignore)
            watching = asyncio.create_task(driver.batch(_watch_adoption))
            await asyncio.sleep(0)
            await staged.adopt("blobs/data", (Put("links/1", b"1"),), (Put("links/2", b"2"),))
            assert await watching == []
        assert await driver.read("blobs/data", CHUNK * 3) == BIG
        for path in ("links/1", "links/2"):
            assert await driver.exists(path)
        assert not await driver.exists("u/1")

    async def test_a_move_moves_files_and_folders(self, driver: Driver) -> None:
        """A file or a folder tree is moved; parents left empty are removed, siblings stay."""
        root = "docker/registry/v2"
        for path in ("a/b/data", "c/d/e/file", "c/d/other", "c/beside"):
            await driver.write(f"{root}/{path}", path.encode())
        assert await driver.exclusively(lambda one: one.move(f"{root}/a/b/data", "aside/x/data"))
        assert await driver.exclusively(lambda one: one.move(f"{root}/c/d", "aside/y"))
        moved = {
            "aside/x/data": "a/b/data",
            "aside/y/e/file": "c/d/e/file",
            "aside/y/other": "c/d/other",
        }
        for path, content in moved.items():
            assert await driver.read(path) == content.encode()
        assert await driver.batch(lambda reader: reader.names(root)) == ["c"]
        assert await driver.batch(lambda reader: reader.names(f"{root}/c")) == ["beside"]

    async def test_a_move_replaces_its_target(self, driver: Driver) -> None:
        """A file or folder at the target is replaced, unless the source is missing."""
        await driver.write("aside/file", b"old")
        await driver.write("aside/folder/old", b"old")
        for target in ("aside/file", "aside/folder"):
            moves = methodcaller("move", "docker/registry/v2/new/data", target)
            assert not await driver.exclusively(moves)
            assert await driver.exists(target)
            await driver.write("docker/registry/v2/new/data", b"new")
            assert await driver.exclusively(moves)
            assert await driver.read(target) == b"new"
            assert not await driver.exists("docker/registry/v2/new")

    async def test_waiting_for_the_lock_of_a_deleted_folder_fails(self, driver: Driver) -> None:
        """The waiter gets PathNotFound, even if a new folder replaced the deleted one."""
        order: list[str] = []

        async def remove() -> None:
            async with driver.lock("tag"):
                await asyncio.sleep(0.01)
                await driver.delete("tag")
                order.append("removed")

        async def write() -> None:
            await asyncio.sleep(0.005)
            with pytest.raises(PathNotFound):
                async with driver.lock("tag"):
                    order.append("locked")
            assert not await driver.publish((Appear("tag", {"link": b"new"}),))
            async with driver.lock("tag"):
                order.append("locked")

        await driver.write("tag/link", b"old")
        await asyncio.gather(remove(), write())
        assert sorted(order) == ["locked", "removed"]
        assert await driver.read("tag/link") == b"new"

    async def test_the_holder_of_a_lock_detects_that_the_folder_was_deleted(
        self, driver: Driver
    ) -> None:
        """A change under the lock is refused after the folder was deleted with its parent."""
        await driver.write("docker/repository/tag/link", b"old")
        async with driver.lock("docker/repository/tag") as held:
            await driver.publish(check=lambda _: held.check())
            assert await driver.exclusively(lambda editor: editor.remove("docker/repository"))
            change = Put("docker/repository/tag/link", b"new")
            with pytest.raises(PathNotFound):
                await driver.publish((change,), check=lambda _: held.check())
        assert not await driver.exists("docker/repository/tag")

    async def test_a_deletion_that_is_refused_removes_nothing(self, driver: Driver) -> None:
        """The error of its check is raised, and the check sees what would be deleted."""
        await driver.write("tag/link", b"old")

        def check(reader: Reader) -> None:
            if reader.read("tag/link") == b"old":
                raise LookupError

        with pytest.raises(LookupError):
            await driver.delete("tag", check)
        assert await driver.read("tag/link") == b"old"
        await driver.write("tag/link", b"new")
        assert await driver.delete("tag", check)
        assert not await driver.exists("tag")

    async def test_syncing_removals_changes_nothing(self, driver: Driver) -> None:
        """It makes no difference whether the path or its parents exist."""
        await driver.write("folder/file", b"x")
        for path in ("folder/file", "folder", "folder/missing/file", "missing/file"):
            await driver.sync_removals(path)
        assert await driver.read("folder/file") == b"x"
        assert not await driver.exists("missing")
        assert not await driver.exists("folder/missing")

    async def test_a_cancelled_holder_releases_the_lock(self, driver: Driver) -> None:
        """A cancellation during the wait or under the lock blocks no other caller."""

        async def hold() -> None:
            async with driver.lock("held"):
                await asyncio.sleep(60)

        await driver.write("held/link", b"")
        for ticks in range(4):
            await cancelled_after(ticks, hold())
        async with driver.lock("held"):
            await driver.write("held/link", b"x")


def _watch(reader: Reader, files: list[str]) -> list[str]:
    """Stat the files in turn until one is missing; return those that exist after that."""
    for _ in range(10_000):
        if any(reader.stat(path) is None for path in files):
            return [path for path in files if reader.stat(path) is not None]
    return []


def _watch_order(reader: Reader, files: list[str]) -> list[str]:
    """Wait for the last of `files`, in reverse order; return those that were missing then."""
    for _ in range(3_000):
        for at in reversed(range(len(files))):
            if reader.stat(files[at]) is not None:
                lacking = [path for path in files[:at] if reader.stat(path) is None]
                if lacking or at == len(files) - 1:
                    return lacking
                break
    return []


def _watch_steps(reader: Reader) -> list[str]:
    return _watch_order(reader, [f"s/{step}/link" for step in range(12)])


def _watch_adoption(reader: Reader) -> list[str]:
    return _watch_order(reader, ["blobs/data", "links/1", "links/2"])
