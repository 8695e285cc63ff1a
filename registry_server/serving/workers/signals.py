"""Receives signals through a socket that can be polled, and blocks and unblocks them."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Queues the signals in HANDLED; `inbox` is readable when there are any.

    Unblocks them, so pending signals are queued first. `ending` is called in the handler of SIGTERM
    and SIGINT, even while the process blocks.
    """

    def __init__(self, ending: Callable[[], None]) -> None:
        self.inbox, self._outbox = socket.socketpair()
        for end in (self.inbox, self._outbox):
            end.setblocking(False)
        signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False)
        # Python writes to the outbox only for a signal that has a handler.
        signal.signal(signal.SIGHUP, lambda *_: None)
        for number in ENDING:
            signal.signal(number, lambda *_: ending())
        unblock_signals()

    def take(self) -> list[signal.Signals]:
        """Return the queued signals in order of arrival."""
        return [signal.Signals(number) for number in self.inbox.recv(1024)]

    def forget(self) -> None:
        """In a new worker: stop queueing signals for the parent.

        SIGHUP, which a terminal sends to the whole process group, is ignored.
        """
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in ENDING:
            signal.signal(number, lambda *_: None)
        self.inbox.close()
        self._outbox.close()


def block_signals() -> None:
    """Block the signals in HANDLED; they stay pending."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def unblock_signals() -> None:
    """Unblock the signals in HANDLED; pending ones are delivered now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block the signals in HANDLED within the block; a process forked in it inherits that."""
    block_signals()
    try:
        yield
    finally:
        unblock_signals()


def unblock_ending_signals() -> None:
    """Unblock SIGTERM and SIGINT; SIGHUP stays blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def block_hangup() -> None:
    """Block SIGHUP after `unblock_signals`: without a handler it would end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
