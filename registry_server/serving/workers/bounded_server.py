"""A server whose shutdown has a time limit, even if a thread or the event loop hangs."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

from registry_server.serving.workers import memory_errors
from registry_server.serving.workers.certificate_reload import CertificateReloadServer
from registry_server.serving.workers.executor import PreparedExecutor
from registry_server.serving.workers.start_limit import end_process_after

# Seconds after the drain in which cancelled uploads save their progress. The supervisor allows
# workers less, so that it kills and logs a hung worker before the kernel does.
MARGIN_SECONDS = 15.0
# Seconds for the same after a second SIGINT.
_HURRY_SECONDS = 10.0


class BoundedServer(CertificateReloadServer):
    """A server that the kernel ends with SIGALRM when its shutdown takes too long.

    Otherwise a thread that waits for a disk, or a reload that waits for a pipe, would keep the
    process alive. Threads are created at startup, because there may be no memory for them later.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Create the threads, start the application, and accept connections on `sockets`."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PreparedExecutor())
        memory_errors.watch(loop)
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM or SIGINT; a second SIGINT shortens the limit.

        The limit starts here, because an event loop that hangs never starts the drain.
        """
        is_first = not self._captured_signals
        super().handle_exit(sig, frame)
        if self.force_exit:
            end_process_after(_HURRY_SECONDS)
        elif is_first:
            self._limit_shutdown()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain within the time limit."""
        if not self.force_exit:
            self._limit_shutdown()
        await super().shutdown(sockets)

    def _limit_shutdown(self) -> None:
        end_process_after((self.config.timeout_graceful_shutdown or 0) + MARGIN_SECONDS)
