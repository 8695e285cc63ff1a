"""The signals a process gets, as something to wait for beside its other business."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Those of HANDLED that came and were not taken yet; `inbox` is readable when there are any.

    Those that were held back until now come too. `ending` is called at once for SIGTERM and SIGINT,
    whatever the process waits for.
    """

    def __init__(self, ending: Callable[[], None]) -> None:
        self.inbox, self._outbox = socket.socketpair()
        for end in (self.inbox, self._outbox):
            end.setblocking(False)
        signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False)
        # Python writes to the outbox only for a signal that has a handler.
        signal.signal(signal.SIGHUP, lambda *_: None)
        for each in ENDING:
            signal.signal(each, lambda *_: ending())
        let_through()

    def take(self) -> list[signal.Signals]:
        """Return those that came, in their order."""
        return [signal.Signals(number) for number in self.inbox.recv(1024)]

    def forget(self) -> None:
        """In a process just forked: what it gets from now on is not for its parent.

        SIGHUP, which a terminal sends to all, has no meaning for it.
        """
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for each in ENDING:
            signal.signal(each, lambda *_: None)
        self.inbox.close()
        self._outbox.close()


def hold_back() -> None:
    """Have HANDLED wait for somebody who can act on them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def let_through() -> None:
    """End `hold_back`; what came meanwhile is delivered now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Have HANDLED wait until the block has ended, here and in a process forked meanwhile."""
    hold_back()
    try:
        yield
    finally:
        let_through()


def let_ending_through() -> None:
    """End `hold_back` for the signals that end the process; SIGHUP still waits."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def hold_hangups_back() -> None:
    """Have SIGHUP wait, also after `let_through`; left to itself it ends the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
