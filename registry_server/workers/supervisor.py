"""The process that keeps the workers going, and serves nobody itself.

It has imported everything before it forks, so that workers begin at once and share the memory of
what was imported; it must have no threads. Between it and each worker lies a channel, a pair of
connected sockets: the worker says when it is ready, the supervisor when to go, and either learns
from its end that the other is gone. So none has to ask in turns, and no worker outlives its
supervisor, however that ends.

At the start all are told to go at the same moment: one that was first would get the connections
that clients open then, and keep them. A worker that is forked later goes when it is ready.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import wait

from registry_server.workers.member import Member
from registry_server.workers.restarts import Restarts
from registry_server.workers.signals import Signals, held_back, let_through

logger = logging.getLogger(__name__)

_FORK = multiprocessing.get_context("fork")


class WorkersFailed(Exception):
    """No worker can start; the message says what became of the last."""


class Supervisor:
    """Keeps `count` workers going, each of which does `work` with its end of a channel.

    `work` sends a byte when it is ready, receives one when it may begin, and drains and returns
    when the channel ends. `listener` is what they accept connections on; it is closed when they
    drain.
    """

    def __init__(
        self, work: Callable[[socket.socket], None], listener: socket.socket, count: int
    ) -> None:
        self._work = work
        self._listener = listener
        self._count = count
        self._members: list[Member] = []
        self._restarts = Restarts()
        self._signals = Signals()
        self._is_open = False
        self._is_draining = False
        self._failure = ""

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT and the drain after it; raise `WorkersFailed`.

        A second SIGINT ends the drain. SIGHUP replaces the workers one for one.
        """
        while self._members or not self._is_draining:
            self._fill_up()
            channels = [each.channel for each in self._members]
            told = wait([self._signals.inbox, *channels], self._patience())
            if self._signals.inbox in told:
                self._obey(self._signals.take())
            for member in [each for each in self._members if each.channel in told]:
                self._hear(member)
        if self._failure:
            raise WorkersFailed(self._failure)

    def _staying(self) -> list[Member]:
        return [each for each in self._members if not each.is_leaving]

    def _patience(self) -> float | None:
        """Return for how many seconds there is nothing to do unless something happens."""
        is_short = not self._is_draining and len(self._staying()) < self._count
        return self._restarts.pause if is_short else None

    def _fill_up(self) -> None:
        while self._patience() == 0.0:
            self._fork()

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        process = _FORK.Process(target=self._become_worker, args=(ours, theirs), daemon=True)
        try:
            with held_back():
                process.start()
        except OSError as error:
            ours.close()
            self._miss(f"no worker can be forked: {error.strerror}", age=0.0)
        else:
            self._members.append(Member(process, ours))
        finally:
            theirs.close()

    def _become_worker(self, ours: socket.socket, theirs: socket.socket) -> None:
        """In the new process: let go of what is the supervisor's, or its end went unnoticed."""
        self._signals.forget()
        let_through()
        ours.close()
        for elder in self._members:
            elder.let_go()
        self._work(theirs)

    def _hear(self, member: Member) -> None:
        if not member.lives():
            self._bury(member)
        elif self._is_open:
            self._welcome(member)
        elif all(each.is_ready for each in self._members):
            self._is_open = True
            for each in self._members:
                each.go()

    def _welcome(self, member: Member) -> None:
        """Let a worker begin, and the oldest leave if it came to take a place."""
        member.go()
        staying = self._staying()
        if len(staying) > self._count:
            staying[0].leave()

    def _bury(self, member: Member) -> None:
        self._members.remove(member)
        age, ended = member.age, member.reap()
        if not member.is_leaving:
            self._miss(ended, age)

    def _miss(self, reason: str, age: float) -> None:
        """Note that a worker is not there; give up when none can be had at all."""
        logger.error(reason)
        self._restarts.note_end(age)
        is_served = any(each.is_ready for each in self._members)
        if not self._is_open or (self._restarts.are_hopeless and not is_served):
            self._failure = reason
            self._drain()

    def _obey(self, signals: list[signal.Signals]) -> None:
        for each in signals:
            logger.info("received %s", each.name)
            if each is signal.SIGHUP:
                self._renew()
            elif not self._is_draining:
                self._drain()
            elif each is signal.SIGINT:
                for member in self._members:
                    member.hurry()

    def _renew(self) -> None:
        """Fork as many again; each that becomes ready lets an older one leave."""
        if self._is_open and all(each.is_ready for each in self._members):
            for _ in range(self._count):
                self._fork()

    def _drain(self) -> None:
        """Have all leave; the kernel refuses connections once the last has closed the socket too.

        Refused, a client tries the next server at once; left in a queue it would wait.
        """
        self._is_draining = True
        self._listener.close()
        for member in self._members:
            member.leave()
