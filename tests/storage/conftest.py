"""Fixtures of the storage tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.content import upload_store
from storage.drivers import memory
from storage.drivers.filesystem import staging
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from tests.support.drivers import AnyDriver


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let callers that wait for the lock of a staged file time out soon."""
    monkeypatch.setattr(staging, "_ATTEMPTS", 4)
    monkeypatch.setattr(staging, "_PAUSE", 0.05)
    monkeypatch.setattr(memory, "_PATIENCE", 0.2)


@pytest.fixture
def eager_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request save a hash state, however little it appended."""
    monkeypatch.setattr(upload_store, "WORTH_A_STATE", 1)


@pytest.fixture
def new_files(tmp_path: Path) -> FilesystemDriver:
    """Return a filesystem driver, created before there is a loop."""
    return FilesystemDriver(tmp_path, threads=4)


@pytest.fixture
async def files(new_files: FilesystemDriver) -> AsyncIterator[FilesystemDriver]:
    """Yield the filesystem driver, and close it."""
    yield new_files
    await new_files.close()


@pytest.fixture
def registry(driver: AnyDriver) -> StoredRegistry:
    """Return a registry over each driver in turn."""
    return StoredRegistry(driver)
