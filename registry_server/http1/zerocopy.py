"""A file's bytes on a socket without a copy through this process: `os.sendfile`.

The bytes go past the transport, so it must have nothing left to write. The socket stays the
transport's: this works on a second descriptor of it, because the loop lets nobody else watch the
first one. A reader that is slow makes us wait for the loop, not for a thread; a file that is not in
memory is read on a thread, because the kernel would have the whole loop wait for the disk.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from storage.concurrency import to_completion

# What one call may send before others get their turn.
_TURN = 1 << 20

SUPPORTED = hasattr(os, "sendfile") and hasattr(os, "preadv")
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_UNTOLD = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class SocketSender:
    """Sends past the transport for one answer; close it before the transport writes again."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._fd = os.dup(transport.get_extra_info("socket").fileno())
        self._waiter: asyncio.Future[None] | None = None
        self._is_lost = False

    async def send(self, data: bytes) -> None:
        """Send all of `data`, together with what comes next; raise OSError if nobody is there."""
        # fromfd would make one more descriptor; this one lends ours.
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
        """Send `count` bytes of a file from `offset`; return how many there were.

        Raises OSError when the client is gone.
        """
        sent = 0
        while sent < count:
            step = await self._step(file, offset + sent, min(count - sent, _TURN))
            if step == 0:
                break
            sent += max(step, 0)
        return sent

    def lose(self) -> None:
        """Have whoever waits for the client learn that it is gone."""
        self._is_lost = True
        self._wake()

    def close(self) -> None:
        """Let go of the socket."""
        os.close(self._fd)

    async def _step(self, file: int, offset: int, count: int) -> int:
        """Send what the socket takes now; 0 at the file's end, -1 after waiting for the client."""
        try:
            if _is_in_memory(file, offset, count):
                sent = os.sendfile(self._fd, file, offset, count)
                await asyncio.sleep(0)
                return sent
            # Carried to its end: the thread must not be left with descriptors that are closed,
            # and maybe somebody else's by then.
            return await to_completion(
                self._loop.run_in_executor(None, os.sendfile, self._fd, file, offset, count)
            )
        except BlockingIOError:
            await self._writable()
            return -1

    async def _writable(self) -> None:
        """Wait until the socket takes more; raise OSError when it never will."""
        self._waiter = self._loop.create_future()
        self._loop.add_writer(self._fd, self._wake)
        try:
            if not self._is_lost:
                await self._waiter
        finally:
            self._loop.remove_writer(self._fd)
            self._waiter = None
        if self._is_lost:
            raise ConnectionResetError("the client is gone")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _is_in_memory(file: int, offset: int, count: int) -> bool:
    """Tell whether a part of a file can be read without the disk, judging by its two ends."""
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
