"""What `storage.drivers.base` promises, as tests that every driver passes.

A driver joins with a class that inherits `DriverContract` and has a fixture `new_driver`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from operator import methodcaller

import pytest

from storage.buffers import Buffer
from storage.drivers.base import CHUNK, SMALL, Driver, StagedFile, StagingBusy, View
from storage.drivers.changes import Appear, Put, Step
from storage.errors import PathNotFound
from tests.storage.streams import cancelled_after, joined

SIZES = (0, 1, SMALL - 1, SMALL, SMALL + 1, CHUNK + 3)
BIG = bytes(range(251)) * (2 * CHUNK // 251 + 7)

# Another program may have put anything into a folder.
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
    """Observe nothing."""


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
    """The conformance tests; a subclass makes the driver."""

    @pytest.fixture
    async def driver(self, new_driver: Driver) -> AsyncIterator[Driver]:
        """Give the driver, and close it."""
        yield new_driver
        await new_driver.close()

    # Files

    @pytest.mark.parametrize("size", SIZES)
    async def test_what_is_written_is_read(self, driver: Driver, size: int) -> None:
        """A file reads back as the bytes that were written, whatever its size."""
        content = BIG[:size]
        await driver.write("a/b/file", content)
        assert await driver.read("a/b/file", CHUNK * 2) == content
        found = await driver.stat("a/b/file")
        assert found is not None
        assert found.size == size

    async def test_a_read_is_cut_after_its_limit(self, driver: Driver) -> None:
        """No more than `limit` bytes are read, SMALL when nothing is said."""
        await driver.write("file", BIG)
        assert await driver.read("file") == BIG[:SMALL]
        for limit in (1, SMALL, SMALL + 1, CHUNK):
            assert await driver.read("file", limit) == BIG[:limit]

    async def test_what_is_not_there_is_not_found(self, driver: Driver) -> None:
        """Nothing, a folder, and a path below a file all count as no file."""
        await driver.write("folder/file", b"x")
        for path in ("nothing", "folder", "folder/nothing", "folder/file/below"):
            with pytest.raises(PathNotFound):
                await driver.read(path)
            with pytest.raises(PathNotFound):
                await driver.read(path, CHUNK)
            with pytest.raises(PathNotFound):
                await driver.open(path)
            assert await driver.stat(path) is None

    async def test_stat_tells_when_a_file_changed(self, driver: Driver) -> None:
        """`modified` is a time in seconds since 1970, and never goes back."""
        await driver.write("file", b"1")
        first = await driver.stat("file")
        await driver.write("file", b"2")
        second = await driver.stat("file")
        assert first is not None
        assert second is not None
        assert abs(first.modified - time.time()) < 86_400
        assert second.modified >= first.modified

    async def test_files_and_folders_exist(self, driver: Driver) -> None:
        """A file and the folders above it exist; a name that begins the same does not."""
        await driver.write("one/two/file", b"")
        for path in ("one", "one/two", "one/two/file"):
            assert await driver.exists(path)
        for path in ("on", "one/tw", "one/two/fil", "one/two/file/x", "two"):
            assert not await driver.exists(path)

    async def test_a_write_replaces_all_of_a_file(self, driver: Driver) -> None:
        """Nothing of a longer content shines through a shorter one."""
        for content in (b"long content", b"short", b""):
            await driver.write("x/link", content)
            assert await driver.read("x/link") == content

    async def test_a_note_is_read_like_any_file(self, driver: Driver) -> None:
        """Notes replace files and are read back."""
        await driver.write("n/note", b"before")
        await driver.note("n/note", b"after")
        assert await driver.read("n/note") == b"after"
        assert await driver.delete("n/note")

    async def test_a_reader_sees_all_or_nothing_of_a_write(self, driver: Driver) -> None:
        """While a file is replaced again and again, every read gives one whole content."""
        contents = [bytes([letter]) * (SMALL * 3) for letter in b"abc"]
        await driver.write("file", contents[0])
        writing = asyncio.create_task(self._write_all(driver, contents * 20))
        seen = set()
        while not writing.done():
            seen.add(await driver.read("file", CHUNK))
            file = await driver.open("file")
            seen.add(await joined(file.stream(0, file.size)))
            await file.close()
            seen.add(await driver.batch(lambda view: view.read("file", CHUNK)))
            await asyncio.sleep(0)
        await writing
        assert seen <= set(contents)

    async def _write_all(self, driver: Driver, contents: list[bytes]) -> None:
        for content in contents:
            await driver.write("file", content)

    async def test_writers_at_once_leave_one_whole_content(self, driver: Driver) -> None:
        """Of several writes to one path, one wins and none is torn or left lying about."""
        contents = [bytes([number]) * (SMALL + number) for number in range(12)]
        await asyncio.gather(*(driver.write("d/e/file", content) for content in contents))
        assert await driver.read("d/e/file", CHUNK) in contents
        assert await driver.batch(lambda view: view.names("d/e")) == ["file"]

    # Deleting

    async def test_a_deleted_file_is_gone_once(self, driver: Driver) -> None:
        """Delete says whether there was anything, so the second time it says no."""
        await driver.write("a/file", b"x")
        await driver.write("a/file2", b"y")
        assert await driver.delete("a/file") is True
        assert await driver.delete("a/file") is False
        assert await driver.delete("nothing") is False
        assert await driver.delete("a/file2/below") is False
        assert await driver.stat("a/file") is None
        assert await driver.read("a/file2") == b"y"

    async def test_a_deleted_folder_goes_with_all_in_it(self, driver: Driver) -> None:
        """Everything below goes; a neighbour whose name begins the same stays."""
        for path in ("t/v1/current/link", "t/v1/index/a/link", "t/v1", "t/v1-a/link", "t/v10"):
            if path != "t/v1":
                await driver.write(path, b"x")
        assert await driver.delete("t/v1") is True
        assert not await driver.exists("t/v1")
        assert sorted(await driver.batch(lambda view: view.names("t"))) == ["v1-a", "v10"]
        assert await driver.delete("t/v1") is False

    async def test_a_folder_goes_in_one_instant(self, driver: Driver) -> None:
        """Once a reader misses one file of a folder, it finds none of them any more."""
        files = [f"folder/{number}/link" for number in range(30)]
        for _ in range(3):
            await asyncio.gather(*(driver.write(path, b"x") for path in files))
            watching = asyncio.create_task(driver.batch(lambda view: _watch(view, files)))
            await asyncio.sleep(0)
            assert await driver.delete("folder")
            survivors = await watching
            assert survivors == []

    async def test_a_write_meanwhile_survives_a_folder_s_removal_or_goes(
        self, driver: Driver
    ) -> None:
        """A write and the removal of a folder above it at once: both succeed."""
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
        """A range comes whole, in pieces of at most CHUNK."""
        await driver.write("file", BIG)
        file = await driver.open("file")
        assert file.size == len(BIG)
        pieces = [piece async for piece in file.stream(start, stop)]
        await file.close()
        assert b"".join(pieces) == BIG[start:stop]
        assert all(0 < len(piece) <= CHUNK for piece in pieces)

    async def test_an_open_file_is_read_twice_and_closed_twice(self, driver: Driver) -> None:
        """Ranges may be asked for in any order, and closing again does nothing."""
        await driver.write("file", b"0123456789")
        file = await driver.open("file")
        assert await joined(file.stream(5, 10)) == b"56789"
        assert await joined(file.stream(0, 3)) == b"012"
        await file.close()
        await file.close()

    async def test_an_open_file_outlives_its_path(self, driver: Driver) -> None:
        """The bytes stay readable when the path is replaced, deleted, or its folder is."""
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
        """The job's result comes back, and so does its error."""
        assert await driver.batch(lambda _: 42) == 42
        with pytest.raises(ZeroDivisionError):
            await driver.batch(lambda _: 1 // 0)

    async def test_a_view_reads_as_the_driver_does(self, driver: Driver) -> None:
        """read and stat of a view are the driver's."""
        await driver.write("folder/file", BIG[: SMALL * 2])
        assert await driver.batch(lambda view: view.read("folder/file")) == BIG[:SMALL]
        assert await driver.batch(lambda view: view.stat("folder/file")) == await driver.stat(
            "folder/file"
        )
        for path in ("folder", "nothing", "folder/file/below"):
            assert await driver.batch(methodcaller("stat", path)) is None
            with pytest.raises(PathNotFound):
                await driver.batch(methodcaller("read", path))

    async def test_names_are_the_direct_entries(self, driver: Driver) -> None:
        """Each entry is named once; absent folders and files have none."""
        for path in ("f/a/1", "f/a/2", "f/b", "f/ab/c/d", "g"):
            await driver.write(path, b"")
        assert sorted(await driver.batch(lambda view: view.names("f"))) == ["a", "ab", "b"]
        for path in ("nothing", "g", "g/below", "f/b"):
            assert await driver.batch(methodcaller("names", path)) == []

    async def test_folders_are_the_entries_that_have_entries(self, driver: Driver) -> None:
        """Folders are named once and files are not; absent folders and files have none."""
        for path in ("f/a/1", "f/a/2", "f/b", "f/ab/c/d", "f/.x/y", "g"):
            await driver.write(path, b"")
        assert sorted(await driver.batch(lambda view: view.folders("f"))) == [".x", "a", "ab"]
        for path in ("nothing", "g", "g/below", "f/b", "f/a"):
            assert await driver.batch(methodcaller("folders", path)) == []

    async def test_entries_are_the_names_and_whether_they_are_folders(self, driver: Driver) -> None:
        """`entries` agrees with `names` and `folders`; absent folders and files have none."""
        for path in ("f/a/1", "f/a/2", "f/b", "f/ab/c/d", "f/.x/y", "g"):
            await driver.write(path, b"")
        for path in ("f", "f/a", "nothing", "g", "g/below", "f/b"):
            found = await driver.batch(lambda view: list(view.entries(path)))  # noqa: B023
            names = await driver.batch(methodcaller("names", path))
            folders = await driver.batch(methodcaller("folders", path))
            assert sorted(found) == [(name, name in folders) for name in sorted(names)]

    async def test_one_entry_is_what_entries_yields_for_it(self, driver: Driver) -> None:
        """A file, a folder, or nothing."""
        for path in ("f/a/1", "f/b"):
            await driver.write(path, b"")
        for path in ("f/a", "f/b", "f/ab", "nothing/a", "f/b/a"):
            folder, _, name = path.rpartition("/")
            found = await driver.batch(lambda view: list(view.entries(folder)))  # noqa: B023
            expected = next((one for one in found if one.name == name), None)
            assert await driver.batch(methodcaller("entry", path)) == expected

    async def test_strange_names_are_listed_as_they_are(self, driver: Driver) -> None:
        """What another program put there is named, whatever it is called."""
        for name in STRANGE_NAMES:
            await driver.write(f"f/{name}", b"")
        assert set(await driver.batch(lambda view: view.names("f"))) == set(STRANGE_NAMES)

    async def test_a_folder_tells_of_coming_and_going(self, driver: Driver) -> None:
        """`modified` is None, or differs after an entry came; nothing has none."""
        await driver.write("f/a", b"")
        before = await driver.batch(lambda view: view.modified("f"))
        await asyncio.sleep(0.02)
        await driver.write("f/b", b"")
        after = await driver.batch(lambda view: view.modified("f"))
        assert (before is None and after is None) or before != after
        assert await driver.batch(lambda view: view.modified("nothing")) is None

    # Staging

    async def test_a_staged_file_begins_empty(self, driver: Driver) -> None:
        """What was created holds zero bytes and nobody."""
        await driver.staging.create("u/1/data", {})
        assert await driver.staging.length("u/1/data") == 0
        assert await _staged(driver, "u/1/data") == b""

    async def test_what_was_not_staged_is_not_found(self, driver: Driver) -> None:
        """No length and no holder without create; nor when a folder or a file is in the way."""
        await driver.write("u/folder/file", b"x")
        for path in ("u/nothing", "u/folder/file/data", "u/folder"):
            with pytest.raises(PathNotFound):
                await driver.staging.length(path)
            with pytest.raises(PathNotFound):
                await _staged(driver, path)

    async def test_appended_bytes_are_held_and_observed(self, driver: Driver) -> None:
        """Each append adds at the end, is seen once and in order, and outlives its holder."""
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

    async def test_appends_of_one_holder_follow_each_other(self, driver: Driver) -> None:
        """One holder appends many times, and reads its own bytes from anywhere."""
        await driver.staging.create("u/1/data", {})
        async with driver.staging.open("u/1/data") as staged:
            for number in range(50):
                await staged.append(bytearray([number] * number), _ignore)
            content = b"".join(bytes([number] * number) for number in range(50))
            assert staged.length == len(content)
            for start in (0, 1, 600, len(content) - 1, len(content)):
                assert await _held(staged, start) == content[start:]

    async def test_what_is_appended_is_copied(self, driver: Driver) -> None:
        """Changing the buffer after an append changes nothing that is held."""
        await driver.staging.create("u/1/data", {})
        buffer = bytearray(b"before")
        async with driver.staging.open("u/1/data") as staged:
            await staged.append(buffer, _ignore)
            buffer[:] = b"after!"
        assert await _staged(driver, "u/1/data") == b"before"

    async def test_a_failed_append_holds_nothing(self, driver: Driver) -> None:
        """When the append raises, nothing of its data counts as held, now or later."""

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
    async def test_truncating_forgets_the_end(self, driver: Driver, length: int) -> None:
        """After a truncation appends go on from there."""
        await _stage(driver, "u/1/data", b"0123456789")
        async with driver.staging.open("u/1/data") as staged:
            await staged.truncate(length)
            assert staged.length == length
            await staged.append(bytearray(b"new"), _ignore)
        assert await _staged(driver, "u/1/data") == b"0123456789"[:length] + b"new"

    async def test_adopting_moves_what_is_held(self, driver: Driver) -> None:
        """The target has the bytes, whole and in place of others; the staged file is gone."""
        for content in (BIG, b"", b"small"):
            await _stage(driver, "u/1/data", content)
            async with driver.staging.open("u/1/data") as staged:
                await staged.adopt("blobs/x/data")
            assert await driver.read("blobs/x/data", len(BIG) + 1) == content
            with pytest.raises(PathNotFound):
                await driver.staging.length("u/1/data")
            with pytest.raises(PathNotFound):
                await _staged(driver, "u/1/data")

    async def test_adopting_is_all_or_nothing_for_a_reader(self, driver: Driver) -> None:
        """A reader of the target has the old bytes or the new ones, and keeps what it opened."""
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

    async def test_only_one_holds_a_staged_file(self, driver: Driver, impatient: None) -> None:
        """While one holds it, another waits, then hears that it is busy."""
        await _stage(driver, "u/1/data", b"x")
        async with driver.staging.open("u/1/data") as staged:
            with pytest.raises(StagingBusy):
                await _staged(driver, "u/1/data")
            assert await driver.staging.length("u/1/data") == 1
            await staged.append(bytearray(b"y"), _ignore)
        assert await _staged(driver, "u/1/data") == b"xy"

    async def test_holders_take_turns(self, driver: Driver) -> None:
        """Those who wait get it one after the other, and each finds what the last one left."""
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

    async def test_holding_one_leaves_the_others_free(self, driver: Driver) -> None:
        """Sessions do not wait for each other."""
        await _stage(driver, "u/1/data", b"1")
        await _stage(driver, "u/11/data", b"11")
        async with driver.staging.open("u/1/data"):
            assert await _staged(driver, "u/11/data") == b"11"

    async def test_a_holder_that_fails_lets_go(self, driver: Driver, impatient: None) -> None:
        """An error or a cancellation inside frees the file for the next one."""
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
    async def test_a_cancelled_open_lets_go_of_the_lock(
        self, driver: Driver, impatient: None, ticks: int
    ) -> None:
        """Whenever the request is cancelled while it opens the file, the next one gets it."""
        await _stage(driver, "u/1/data", b"x")
        await cancelled_after(ticks, _staged(driver, "u/1/data"))
        assert await _staged(driver, "u/1/data") == b"x"

    async def test_a_waiter_finds_an_ended_session_gone(self, driver: Driver) -> None:
        """Who waited while the holder adopted or discarded it gets PathNotFound."""
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

    async def test_discarding_a_note_removes_it_alone(self, driver: Driver) -> None:
        """A single file may be discarded; what lies beside it stays."""
        await driver.note("u/1/hashstates/sha256/0", b"0")
        await driver.note("u/1/hashstates/sha256/10", b"10")
        await driver.staging.discard("u/1/hashstates/sha256/0")
        assert await driver.batch(lambda view: view.names("u/1/hashstates/sha256")) == ["10"]

    async def test_discarding_removes_a_session_s_folder(self, driver: Driver) -> None:
        """All in it goes, again and for nothing at all is no error, neighbours stay."""
        await _stage(driver, "u/1/data", b"x")
        await driver.note("u/1/startedat", b"now")
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
        """However an append is cancelled, its data is held and was observed, or neither."""
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

    async def test_who_locks_a_folder_is_alone(self, driver: Driver) -> None:
        """Of many who read, wait and write under a lock, none overwrites what another wrote."""
        await driver.write("counted/so/far", b"0")

        async def count() -> None:
            async with driver.lock("counted"):
                before = int(await driver.read("counted/so/far"))
                await asyncio.sleep(0.001)
                await driver.write("counted/so/far", str(before + 1).encode())

        await asyncio.gather(*(count() for _ in range(12)))
        assert await driver.read("counted/so/far") == b"12"

    async def test_there_is_no_lock_without_a_folder(self, driver: Driver) -> None:
        """Nothing is made for a lock."""
        with pytest.raises(PathNotFound):
            async with driver.lock("missing/folder"):
                raise AssertionError("it was locked")
        assert await driver.batch(lambda view: view.names("missing")) == []

    # Publishing

    async def test_what_is_published_is_there(self, driver: Driver) -> None:
        """Every change of every step, in folders that are there and in new ones."""
        await driver.write("a/old", b"old")
        assert await driver.publish() == ()
        assert await driver.publish((), (Put("a/old", b"new"), Put("b/c/d", BIG)), ()) == ()
        assert await driver.publish((Appear("e/f", {"g": b"1", "h/i": b"2"}),)) == ()
        expected = {"a/old": b"new", "b/c/d": BIG, "e/f/g": b"1", "e/f/h/i": b"2"}
        for path, content in expected.items():
            assert await driver.read(path, CHUNK * 3) == content

    async def test_what_is_published_last_counts(self, driver: Driver) -> None:
        """A file that several steps put holds what the last one says."""
        await driver.publish(*((Put("a/file", b"%d" % number),) for number in range(5)))
        assert await driver.read("a/file") == b"4"
        assert await driver.batch(lambda view: view.names("a")) == ["file"]

    async def test_a_reader_sees_steps_in_order(self, driver: Driver) -> None:
        """Who sees a step sees all those before it, beside many who publish."""
        for _ in range(3):
            steps: list[Step] = [(Put(f"s/{step}/link", b"x"),) for step in range(12)]
            steps[6] = (Appear("s/6", {"link": b"x", "other/link": b"x"}),)
            watching = asyncio.create_task(driver.batch(_watch_steps))
            await asyncio.sleep(0)
            others = [driver.publish((Put(f"other/{n}", b"x"),)) for n in range(4)]
            await asyncio.gather(driver.publish(*steps), *others)
            assert await watching == []
            await driver.delete("s")

    async def test_what_a_check_raises_stops_all(self, driver: Driver) -> None:
        """It reads first, and its error comes back; nothing is changed."""

        def check(view: View) -> None:
            if view.stat("wanted") is None:
                raise LookupError

        with pytest.raises(LookupError):
            await driver.publish((Put("a/b", b""),), (Appear("c", {"d": b""}),), check=check)
        for path in ("a", "c"):
            assert not await driver.exists(path)
        await driver.write("wanted", b"")
        await driver.publish((Put("a/b", b""),), check=check)
        assert await driver.exists("a/b")

    async def test_what_is_in_the_way_is_told_and_left(self, driver: Driver) -> None:
        """A folder with something in it stays as it is; all other changes come."""
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

    async def test_a_folder_appears_with_all_in_it(self, driver: Driver) -> None:
        """One of many who have it appear succeeds, and only that one's files are there."""
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
        assert sorted(await driver.batch(lambda view: view.names("tag"))) == ["current", "index"]

    async def test_a_folder_can_appear_again(self, driver: Driver) -> None:
        """After it was deleted."""
        assert not await driver.publish((Appear("tags/v1", {"current/link": b"1"}),))
        await driver.delete("tags/v1")
        assert not await driver.publish((Appear("tags/v1", {"current/link": b"2"}),))
        assert await driver.read("tags/v1/current/link") == b"2"

    async def test_many_publish_into_folders_that_are_removed(self, driver: Driver) -> None:
        """Beside deletions of the folders above, every plan succeeds, and its last step stays."""

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
        assert len(await driver.batch(lambda view: view.names("kept"))) == 6

    async def test_adopting_goes_on_with_what_follows(self, driver: Driver) -> None:
        """The steps behind an adoption come after it; the session's folder goes with its notes."""
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

    async def test_what_is_moved_is_at_its_target_alone(self, driver: Driver) -> None:
        """A file, and a folder with all in it; what they leave empty goes, what is beside stays."""
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
        assert await driver.batch(lambda view: view.names(root)) == ["c"]
        assert await driver.batch(lambda view: view.names(f"{root}/c")) == ["beside"]

    async def test_a_move_replaces_what_was_there(self, driver: Driver) -> None:
        """A file or a folder at the target goes, but not for nothing."""
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

    async def test_a_lock_outlives_the_folder(self, driver: Driver) -> None:
        """Who waits for a lock finds the folder gone, and not another one in its place locked."""
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

    async def test_who_holds_a_folder_notices_that_it_went(self, driver: Driver) -> None:
        """A change under the lock is refused once the folder is gone, with the one above it."""
        await driver.write("docker/repository/tag/link", b"old")
        async with driver.lock("docker/repository/tag") as held:
            await driver.publish(check=lambda _: held.check())
            assert await driver.exclusively(lambda editor: editor.remove("docker/repository"))
            change = Put("docker/repository/tag/link", b"new")
            with pytest.raises(PathNotFound):
                await driver.publish((change,), check=lambda _: held.check())
        assert not await driver.exists("docker/repository/tag")

    async def test_a_deletion_that_is_refused_removes_nothing(self, driver: Driver) -> None:
        """What its check raises is raised, and what it finds is what would be removed."""
        await driver.write("tag/link", b"old")

        def check(view: View) -> None:
            if view.read("tag/link") == b"old":
                raise LookupError

        with pytest.raises(LookupError):
            await driver.delete("tag", check)
        assert await driver.read("tag/link") == b"old"
        await driver.write("tag/link", b"new")
        assert await driver.delete("tag", check)
        assert not await driver.exists("tag")

    async def test_to_settle_changes_nothing(self, driver: Driver) -> None:
        """Whether there is anything at the path, or a folder above it, or not."""
        await driver.write("folder/file", b"x")
        for path in ("folder/file", "folder", "folder/missing/file", "missing/file"):
            await driver.settle(path)
        assert await driver.read("folder/file") == b"x"
        assert not await driver.exists("missing")
        assert not await driver.exists("folder/missing")

    async def test_a_cancelled_lock_is_free(self, driver: Driver) -> None:
        """Whoever is cancelled while it waits or holds keeps nobody out."""

        async def hold() -> None:
            async with driver.lock("held"):
                await asyncio.sleep(60)

        await driver.write("held/link", b"")
        for ticks in range(4):
            await cancelled_after(ticks, hold())
        async with driver.lock("held"):
            await driver.write("held/link", b"x")


def _watch(view: View, files: list[str]) -> list[str]:
    """Look at the files in turn until one is missing; return those that are there after that."""
    for _ in range(10_000):
        if any(view.stat(path) is None for path in files):
            return [path for path in files if view.stat(path) is not None]
    return []


def _watch_order(view: View, files: list[str]) -> list[str]:
    """Wait for the last of `files`, looking backwards; return those that were missing then."""
    for _ in range(3_000):
        for at in reversed(range(len(files))):
            if view.stat(files[at]) is not None:
                lacking = [path for path in files[:at] if view.stat(path) is None]
                if lacking or at == len(files) - 1:
                    return lacking
                break
    return []


def _watch_steps(view: View) -> list[str]:
    return _watch_order(view, [f"s/{step}/link" for step in range(12)])


def _watch_adoption(view: View) -> list[str]:
    return _watch_order(view, ["blobs/data", "links/1", "links/2"])
