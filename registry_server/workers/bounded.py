"""A server that ends in time, even when a part of it has stopped working."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

from registry_server.workers import exhaustion
from registry_server.workers.executor import PreparedExecutor
from registry_server.workers.renewing import RenewingServer
from registry_server.workers.start_limit import end_after

# Seconds beyond the drain in which cut uploads note how far they came. A supervisor gives its
# workers less, so that it is the one to tell of them.
MARGIN_SECONDS = 15.0
# Seconds for the same after a second SIGINT.
_HURRY_SECONDS = 10.0


class BoundedServer(RenewingServer):
    """A server that the kernel ends, by SIGALRM, when it takes too long to end.

    A thread that waits for a disk, or a reload that waits for a pipe, would otherwise keep the
    process. Nothing in it can prevent the signal. Threads are made at the start, because there may
    be no memory for them when a request comes.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Make the threads, start the application, and accept connections on `sockets`."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PreparedExecutor())
        exhaustion.watch(loop)
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGTERM or SIGINT; a second SIGINT leaves little time.

        The time counts from here, because an event loop that hangs never comes to the drain.
        """
        is_first = not self._captured_signals
        super().handle_exit(sig, frame)
        if self.force_exit:
            end_after(_HURRY_SECONDS)
        elif is_first:
            self._end_in_time()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain within its time."""
        if not self.force_exit:
            self._end_in_time()
        await super().shutdown(sockets)

    def _end_in_time(self) -> None:
        end_after((self.config.timeout_graceful_shutdown or 0) + MARGIN_SECONDS)
