"""Fixtures of the storage tests."""

from __future__ import annotations

import pytest

from storage import uploads
from storage.drivers import file_staging, memory
from storage.registry import StoredRegistry
from tests.support.drivers import AnyDriver


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever waits for another holder of a staged file give up soon."""
    monkeypatch.setattr(file_staging, "_PATIENCE", 4)
    monkeypatch.setattr(file_staging, "_PAUSE", 0.05)
    monkeypatch.setattr(memory, "_PATIENCE", 0.2)


@pytest.fixture
def eager_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every request leave a hash state, however little it appended."""
    monkeypatch.setattr(uploads, "WORTH_A_STATE", 1)


@pytest.fixture
def registry(driver: AnyDriver) -> StoredRegistry:
    """Give a registry over each driver in turn."""
    return StoredRegistry(driver)
