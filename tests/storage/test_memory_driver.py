"""The memory driver passes the driver contract."""

from __future__ import annotations

import pytest

from storage.drivers.memory import MemoryDriver
from tests.storage.driver_contract import DriverContract


class TestMemoryDriver(DriverContract):
    """The contract, on a dictionary."""

    @pytest.fixture
    def new_driver(self) -> MemoryDriver:
        return MemoryDriver()
