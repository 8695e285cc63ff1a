"""The executor of `asyncio.to_thread` passes calls on to the threads it has prepared."""

from __future__ import annotations

import asyncio

import pytest

from registry_server.serving.workers.executor import PreparedExecutor


async def test_results_exceptions_and_arguments_are_passed_on() -> None:
    """A call returns what its function returns, raises what it raises, and may use keywords."""
    loop = asyncio.get_running_loop()
    executor = await asyncio.to_thread(PreparedExecutor)
    try:
        assert await loop.run_in_executor(executor, int, "7") == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await loop.run_in_executor(executor, int, "x")
        assert await asyncio.wrap_future(executor.submit(int, "11", base=2)) == 3
    finally:
        await asyncio.to_thread(executor.shutdown)
