"""WatchedFile files: the last usable content is in force, and no edit is lost."""

from __future__ import annotations

import asyncio
import logging
import threading
from asyncio import to_thread
from pathlib import Path

import pytest

from registry_server.files.watched_file import WatchedFile


def text(content: bytes) -> str:
    """Parse the content as text of at least one character."""
    if content == b"broken":
        raise ValueError("it is broken")
    return content.decode()


async def watching(path: Path, first: bytes = b"first") -> WatchedFile[str]:
    """Watch a file, with a check at every use."""
    await to_thread(path.write_bytes, first)
    return await to_thread(WatchedFile, path, text, 0.0)


async def test_a_file_that_could_not_be_read_is_read_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A temporary failure of the disk loses no edit, which may revoke rights."""
    path = tmp_path / "file"
    watched = await watching(path)
    await to_thread(path.unlink)
    with caplog.at_level(logging.ERROR):
        assert [await watched.now() for _ in range(3)] == ["first"] * 3
    assert len(caplog.records) == 1
    await to_thread(path.mkdir)
    assert await watched.now() == "first"
    await to_thread(path.rmdir)
    await to_thread(path.write_bytes, b"second")
    assert await watched.now() == "second"


async def test_a_broken_edit_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The previous content stays in force, and the next edit counts."""
    path = tmp_path / "file"
    watched = await watching(path)
    await to_thread(path.write_bytes, b"broken")
    with caplog.at_level(logging.ERROR):
        assert [await watched.now() for _ in range(3)] == ["first"] * 3
    assert [record.getMessage().endswith("it is broken") for record in caplog.records] == [True]
    await to_thread(path.write_bytes, b"third one")
    assert await watched.now() == "third one"


async def test_a_file_that_is_too_large_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The previous content stays in force, and the file is read again when it changes."""
    path = tmp_path / "file"
    watched = await watching(path)
    await to_thread(path.write_bytes, b"x" * ((16 << 20) + 1))
    with caplog.at_level(logging.ERROR):
        assert [await watched.now() for _ in range(3)] == ["first"] * 3
    assert [record.getMessage()[-24:] for record in caplog.records] == ["it is larger than 16 MiB"]
    await to_thread(path.write_bytes, b"small")
    assert await watched.now() == "small"


async def test_a_missing_file_can_have_a_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has that value until it exists and after it was deleted, which is logged."""
    path = tmp_path / "file"
    watched = await to_thread(lambda: WatchedFile(path, text, 0.0, missing="none"))
    assert await watched.now() == "none"
    await to_thread(path.write_bytes, b"broken")
    assert await watched.now() == "none"
    await to_thread(path.write_bytes, b"first one")
    assert await watched.now() == "first one"
    await to_thread(path.unlink)
    assert [await watched.now() for _ in range(3)] == ["none"] * 3
    (deleted,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert deleted.getMessage() == f"{path} was deleted: it counts as empty"


async def test_a_slow_check_overwrites_nothing(tmp_path: Path) -> None:
    """Only one check reads at a time, so the last content read is the last one written."""
    path = tmp_path / "file"
    reading, go_on = threading.Event(), threading.Event()

    def slowly(content: bytes) -> str:
        if content == b"slow":
            reading.set()
            assert go_on.wait(20)
        return content.decode()

    await to_thread(path.write_bytes, b"first")
    watched: WatchedFile[str] = await to_thread(WatchedFile, path, slowly, 0.0)
    await to_thread(path.write_bytes, b"slow")
    slow = asyncio.create_task(watched.now())
    await to_thread(reading.wait, 20)
    await to_thread(path.write_bytes, b"the last word")
    assert await watched.now() == "first"
    go_on.set()
    assert await slow == "slow"
    assert await watched.now() == "the last word"
