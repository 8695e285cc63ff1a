"""Connections on both event loops: uvloop, and asyncio's own, the fallback without uvloop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

# Calls on sockets that never block, and on file pages that are in memory.
_INLINE = {
    "os.sendfile": "_step",
    "socket.socket.send": "send",
}


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"], scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run async tests on each event loop."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    """Fail a test in which our code blocks the event loop."""
    with blockbuster_ctx(scanned_modules=["storage", "registry_server"]) as blocking:
        for name, function in _INLINE.items():
            if name in blocking.functions:
                blocking.functions[name].can_block_in(
                    "registry_server/serving/http1/zerocopy.py", function
                )
        yield
