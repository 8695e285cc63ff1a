"""The process that keeps the workers going, and serves nobody itself.

It has imported everything before it forks, so that workers begin at once and share the memory of
what was imported; it must have no threads. Between it and each worker lies a channel, a pair of
connected sockets: the worker says when it is ready, the supervisor when to go, and either learns
from its end that the other is gone. So none has to ask in turns, and no worker outlives its
supervisor, however that ends.

At the start all are told to go at the same moment: one that was first would get the connections
that clients open then, and keep them. A worker that is forked later goes when it is ready.

At a renewal as many again are forked, to do other work. When all of them are ready they go, and
those before them leave: never does one part of the clients see other settings than the rest. If
one of them fails, all of them leave, and it was as if nothing had been asked for.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import TypeAlias

from registry_server.workers.member import Member
from registry_server.workers.milestones import Milestones
from registry_server.workers.restarts import Restarts
from registry_server.workers.signals import Signals, held_back, let_through

logger = logging.getLogger(__name__)

_FORK = multiprocessing.get_context("fork")

# What a worker does with its end of the channel.
Work: TypeAlias = Callable[[socket.socket], None]


class WorkersFailed(Exception):
    """No worker can start; the message says what became of the last."""


class Supervisor:
    """Keeps `count` workers going, each of which does `work` with its end of a channel.

    `work` sends a byte when it is ready, receives one when it may begin, and drains and returns
    when the channel ends. `listeners` is what they accept connections on; it is closed when they
    drain. `renewed` returns what workers are to do from now on, or None if they are to go on.
    `milestones` is told when all workers accept connections, and when the drain begins.
    """

    def __init__(
        self,
        work: Work,
        listeners: Sequence[socket.socket],
        count: int,
        renewed: Callable[[], Work | None],
        milestones: Milestones,
    ) -> None:
        self._work = work
        self._listeners = listeners
        self._milestones = milestones
        self._count = count
        self._renewed = renewed
        self._members: list[Member] = []
        self._successors: list[Member] = []  # those of a renewal, until they take over
        self._their_work = work
        self._replaced: list[Member] = []  # those that leave for successors
        self._restarts = Restarts()
        self._signals = Signals()
        self._is_open = False
        self._is_draining = False
        self._is_renewal_due = False
        self._failure = ""

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT and the drain after it; raise `WorkersFailed`.

        A second SIGINT ends the drain. SIGHUP replaces the workers, if `renewed` says by what;
        those that come before all have been replaced are one, and are obeyed then.
        """
        while self._members or not self._is_draining:
            self._fill_up()
            self._renew()
            channels = [each.channel for each in self._members]
            told = wait([self._signals.inbox, *channels], self._patience())
            if self._signals.inbox in told:
                self._obey(self._signals.take())
            for member in [each for each in self._members if each.channel in told]:
                self._hear(member)
        if self._failure:
            raise WorkersFailed(self._failure)

    def _staying(self) -> list[Member]:
        members = [each for each in self._members if not each.is_leaving]
        return [each for each in members if each not in self._successors]

    def _patience(self) -> float | None:
        """Return for how many seconds there is nothing to do unless something happens."""
        is_short = not self._is_draining and len(self._staying()) < self._count
        return self._restarts.pause if is_short else None

    def _fill_up(self) -> None:
        while self._patience() == 0.0:
            try:
                self._fork(self._work)
            except OSError as error:
                self._miss(f"no worker can be forked: {error.strerror}", age=0.0)

    def _fork(self, work: Work) -> Member:
        ours, theirs = socket.socketpair()
        arguments = (work, ours, theirs)
        process = _FORK.Process(target=self._become_worker, args=arguments, daemon=True)
        try:
            with held_back():
                process.start()
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._members.append(Member(process, ours))
        return self._members[-1]

    def _become_worker(self, work: Work, ours: socket.socket, theirs: socket.socket) -> None:
        """In the new process: let go of what is the supervisor's, or its end went unnoticed."""
        self._signals.forget()
        let_through()
        ours.close()
        for elder in self._members:
            elder.let_go()
        try:
            work(theirs)
        except Exception:
            # multiprocessing would print the traceback, not in the format of the log.
            logger.critical("a worker failed", exc_info=True)
            sys.exit(1)

    def _hear(self, member: Member) -> None:
        if not member.lives():
            self._bury(member)
        elif member in self._successors:
            self._take_over()
        elif self._is_open:
            member.go()
        elif all(each.is_ready for each in self._members):
            self._is_open = True
            for each in self._members:
                each.go()
            self._milestones.opened()

    def _bury(self, member: Member) -> None:
        self._members.remove(member)
        age, ended = member.age, member.reap()
        if member in self._successors:
            self._call_off(ended)
        elif not member.is_leaving:
            self._miss(ended, age)
        elif member.has_failed:
            logger.error(ended)
        if member in self._replaced:
            self._replaced.remove(member)
            if not self._replaced:
                logger.info("every request that began before the reload has ended")

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
            if each is signal.SIGHUP:
                logger.info("received SIGHUP")
                self._is_renewal_due = True
            elif not self._is_draining:
                self._milestones.stopping(each)
                self._drain()
            elif each is signal.SIGINT:
                for member in self._members:
                    member.hurry()

    def _renew(self) -> None:
        """Fork as many again, if that was asked for and nothing speaks against it now."""
        is_busy = not self._is_open or self._successors or self._is_draining
        if is_busy or not self._is_renewal_due:
            return
        self._is_renewal_due = False
        try:
            work = self._renewed()
        except Exception:
            logger.exception("the reload failed; the registry goes on")
            return
        if work is None:
            return
        self._their_work = work
        try:
            for _ in range(self._count):
                self._successors.append(self._fork(work))
        except OSError as error:
            self._call_off(f"no worker can be forked: {error.strerror}")

    def _take_over(self) -> None:
        """Let those that are new begin, once all of them are ready, and all others leave."""
        if not all(each.is_ready for each in self._successors):
            return
        elders = self._staying()
        for each in self._successors:
            each.go()
        for each in elders:
            each.leave()
        self._replaced += elders
        self._successors, self._work = [], self._their_work

    def _call_off(self, reason: str) -> None:
        """Have those that were to take over leave, because one of them can't."""
        logger.error("%s; the workers it was to replace go on as before", reason)
        for each in self._successors:
            each.leave()
        self._successors = []

    def _drain(self) -> None:
        """Have all leave; the kernel refuses connections once the last has closed the socket too.

        Refused, a client tries the next server at once; left in a queue it would wait.
        """
        self._is_draining = True
        self._successors = []
        for listener in self._listeners:
            listener.close()
        for member in self._members:
            member.leave()
