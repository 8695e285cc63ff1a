"""Sends a file over a socket with `os.sendfile`, without a copy through this process.

The bytes bypass the transport, so its buffer must be empty. The transport keeps the socket; this
works on a duplicate descriptor, because the event loop refuses to watch a transport's own. Waiting
for a slow client occupies no thread. A file that is not in the page cache is sent on a thread,
because `sendfile` would block the event loop for the disk.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

from storage.concurrency.cancellation import to_completion

# Bytes that one call sends before other connections are served.
_TURN = 1 << 20

SUPPORTED = hasattr(os, "sendfile") and hasattr(os, "preadv")
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_UNTOLD = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class SocketSender:
    """Bypasses the transport for one response; close it before the transport writes again."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        waiting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`waiting` surrounds each wait for the client."""
        self._loop = loop
        self._waiting = waiting
        self._fd = os.dup(transport.get_extra_info("socket").fileno())
        self._waiter: asyncio.Future[None] | None = None
        self._is_lost = False

    async def send(self, data: bytes) -> None:
        """Send all of `data` with MSG_MORE; raise OSError if the client has disconnected."""
        # `socket.fromfd` would duplicate the descriptor again.
        with socket.socket(fileno=self._fd) as lent:
            try:
                while data:
                    try:
                        data = data[lent.send(data, socket.MSG_MORE) :]
                    except BlockingIOError:
                        await self._writable()
            finally:
                lent.detach()

    async def send_file(self, file: int, offset: int, count: int) -> int:
        """Send `count` bytes of a file from `offset`; return how many the file had.

        Raises OSError if the client has disconnected.
        """
        sent = 0
        while sent < count:
            step = await self._step(file, offset + sent, min(count - sent, _TURN))
            if step == 0:
                break
            sent += max(step, 0)
        return sent

    def disconnect(self) -> None:
        """Record that the client has disconnected, and wake a waiting `send`."""
        self._is_lost = True
        self._wake()

    def close(self) -> None:
        """Close the duplicate descriptor."""
        os.close(self._fd)

    async def _step(self, file: int, offset: int, count: int) -> int:
        """Send what the socket accepts; 0 at the file's end, -1 after waiting for the client."""
        try:
            if _is_in_memory(file, offset, count):
                sent = os.sendfile(self._fd, file, offset, count)
                await asyncio.sleep(0)
                return sent
            # Not interrupted by a cancellation: the thread must not use descriptors that are closed
            # meanwhile, or already reused for another file.
            return await to_completion(
                self._loop.run_in_executor(None, os.sendfile, self._fd, file, offset, count)
            )
        except BlockingIOError:
            await self._writable()
            return -1

    async def _writable(self) -> None:
        """Wait until the socket is writable; raise OSError if the client disconnects."""
        self._waiter = self._loop.create_future()
        self._loop.add_writer(self._fd, self._wake)
        try:
            if not self._is_lost:
                with self._waiting():
                    await self._waiter
        finally:
            self._loop.remove_writer(self._fd)
            self._waiter = None
        if self._is_lost:
            raise ConnectionResetError("the client has disconnected")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _is_in_memory(file: int, offset: int, count: int) -> bool:
    """Return whether a part of a file is in the page cache, judging by its first and last byte."""
    try:
        for at in (offset, offset + count - 1):
            os.preadv(file, [bytearray(1)], at, _NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNTOLD:
            return False
        raise
    return bool(_NOWAIT)
