"""Fixtures: the application with any settings, over each driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import httpx
import pytest

from registry_server.config import Settings
from registry_server.config.validation import validated
from tests.support.app import serve_in_process
from tests.support.drivers import AnyDriver

Serve: TypeAlias = Callable[[dict[str, Any]], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def serve(driver: AnyDriver) -> AsyncIterator[Serve]:
    """Serve the same storage with any settings, as often as a test needs."""
    async with AsyncExitStack() as stack:

        async def start(settings: dict[str, Any]) -> httpx.AsyncClient:
            made = validated(Settings, settings)
            return await stack.enter_async_context(serve_in_process(made, driver))

        yield start
