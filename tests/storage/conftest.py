"""Fixtures of the storage tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.content import uploads
from storage.drivers import memory
from storage.drivers.filesystem import staging
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from tests.support.drivers import AnyDriver


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever waits for another holder of a staged file give up soon."""
    monkeypatch.setattr(staging, "_ATTEMPTS", 4)
    monkeypatch.setattr(staging, "_PAUSE", 0.05)
    monkeypatch.setattr(memory, "_PATIENCE", 0.2)


@pytest.fixture
def eager_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every request leave a hash state, however little it appended."""
    monkeypatch.setattr(uploads, "WORTH_A_STATE", 1)


@pytest.fixture
def new_files(tmp_path: Path) -> FilesystemDriver:
    """Make a filesystem driver, before there is a loop."""
    return FilesystemDriver(tmp_path, threads=4)


@pytest.fixture
async def files(new_files: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Give the filesystem driver, and close it."""
    yield new_files
    await new_files.close()


@pytest.fixture
def registry(driver: AnyDriver) -> StoredRegistry:
    """Give a registry over each driver in turn."""
    return StoredRegistry(driver)
