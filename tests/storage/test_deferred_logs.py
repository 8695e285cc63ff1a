"""Log records of a thread with the tree lock are written after it has released the lock."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest

from storage.content.links import read_link
from storage.drivers.base import Reader
from storage.drivers.changes import Put
from storage.drivers.filesystem import deferred_logs
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.values import paths

LINK = "docker/link"
DAMAGED = f"link {LINK} is damaged and treated as absent: b'no digest'"

Work: TypeAlias = Callable[[FilesystemDriver], Awaitable[object]]


class _Witness(logging.Handler):
    """Records each message, and the locks that are held while it is written."""

    def __init__(self, root: str) -> None:
        super().__init__()
        self._root = root
        self.messages: list[str] = []
        self.held: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.held |= {name for name in (paths.GATE, paths.TREE) if self._is_held(name)}

    def _is_held(self, name: str) -> bool:
        fd = os.open(f"{self._root}/{name}", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


@pytest.fixture
def witness(files: FilesystemDriver) -> Iterator[_Witness]:
    """Return a handler of all log records, installed as a program does."""
    made = _Witness(files.root)
    logging.getLogger().addHandler(made)
    yield made
    logging.getLogger().removeHandler(made)


def _look(reader: Reader) -> None:
    """Read a damaged link, which is logged."""
    assert read_link(reader, LINK) is None


async def _alone(driver: FilesystemDriver) -> None:
    await driver.exclusively(_look)


async def _publish(driver: FilesystemDriver) -> None:
    await driver.publish((Put("docker/other", b"x"),), check=_look)


async def _delete(driver: FilesystemDriver) -> None:
    await driver.delete("docker/other", check=_look)


def _look_and_fail(reader: Reader) -> None:
    _look(reader)
    raise OSError


async def _fail(driver: FilesystemDriver) -> None:
    with pytest.raises(OSError):
        await driver.exclusively(_look_and_fail)


@pytest.mark.parametrize("work", [_alone, _publish, _delete, _fail])
async def test_a_line_is_written_after_the_lock_is_released(
    files: FilesystemDriver, witness: _Witness, work: Work
) -> None:
    """A stream that is not read blocks the thread that logs; no push waits for that thread."""
    await files.write(LINK, b"no digest")
    await work(files)
    assert (witness.messages, witness.held) == ([DAMAGED], set())


async def test_a_line_without_a_lock_is_written_immediately(
    files: FilesystemDriver, witness: _Witness
) -> None:
    """Only a thread that holds a lock defers."""
    await files.write(LINK, b"no digest")
    seen = await files.batch(lambda reader: (read_link(reader, LINK), list(witness.messages)))
    assert seen == (None, [DAMAGED])


async def test_deferred_lines_are_bounded(
    files: FilesystemDriver, witness: _Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones are written, and the number of others; the next lock defers again."""
    monkeypatch.setattr(deferred_logs, "_MOST", 2)
    await files.write(LINK, b"no digest")
    await files.exclusively(lambda editor: [read_link(editor, LINK) for _ in range(5)])
    assert witness.messages == [DAMAGED, DAMAGED, "3 more lines were not logged"]
    await _alone(files)
    assert witness.messages[3:] == [DAMAGED]
