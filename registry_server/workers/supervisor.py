"""The process that keeps the workers going, and serves nobody itself.

It has imported everything before it forks, so that workers begin at once and share the memory of
what was imported; it must have no threads. Between it and each worker lies a channel, a pair of
connected sockets: the worker says when it is ready, the supervisor when to go, and either learns
from its end that the other is gone. So none has to ask in turns, and no worker outlives its
supervisor, however that ends.

At the start all are told to go at the same moment: one that was first would get the connections
that clients open then, and keep them. A worker that is forked later goes when it is ready.

At a renewal a child process reads the configuration, and as many workers again are forked, to do
other work. When all of them are ready they go, and those before them leave: never does one part of
the clients see other settings than the rest. If one of them fails, all of them leave, and it was as
if nothing had been asked for.

A worker may hang or be stopped, and a thread of it may wait for a disk. So a worker that leaves has
a deadline, after which it is killed; one without a pulse is killed too. SIGKILL does not end a
process that waits for a disk. During a drain the supervisor waits `LAST_SECONDS` for such a worker.
Otherwise the worker is replaced only when it has ended: its successor would wait for that disk too.
The supervisor may block itself, where nothing reads its log; `last_resort` ends it then.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

from registry_server.workers import pulse, readable
from registry_server.workers.child import ChildFailed
from registry_server.workers.fork import fork
from registry_server.workers.last_resort import LastResort
from registry_server.workers.member import Member
from registry_server.workers.milestones import Milestones
from registry_server.workers.pulse import Pulse
from registry_server.workers.renewal import Renewal
from registry_server.workers.restarts import Restarts
from registry_server.workers.running_time import RunningTime
from registry_server.workers.signals import Signals, let_through
from registry_server.workers.work import Work

logger = logging.getLogger(__name__)

# Seconds beyond its drain in which a worker notes how far cut uploads came, and ends.
MARGIN_SECONDS = 10.0
# Seconds for the same after a second SIGINT.
HURRY_SECONDS = 5.0
# Seconds in which a process that was killed ends, unless it waits for a disk.
LAST_SECONDS = 5.0
# How often the supervisor looks at the pulses in `HUNG_SECONDS`.
_LOOKS = 6


class WorkersFailed(Exception):
    """Workers cannot start, or did not end by themselves; the message says which and why."""


class Supervisor:
    """Keeps `count` workers going, each of which does `work`.

    `listeners` is what they accept connections on; it is closed when they drain. `renewal` says
    after a SIGHUP what workers are to do from now on. `milestones` is told when all workers accept
    connections, and when the drain begins.
    """

    def __init__(
        self,
        work: Work,
        listeners: Sequence[socket.socket],
        count: int,
        renewal: Renewal[Any],
        milestones: Milestones,
    ) -> None:
        self._work = work
        self._listeners = listeners
        self._milestones = milestones
        self._count = count
        self._renewal = renewal
        self._members: list[Member] = []
        self._successors: list[Member] = []  # those of a renewal, until they take over
        self._their_work = work
        self._replaced: list[Member] = []  # those that leave for successors
        self._restarts = Restarts()
        self._last_resort = LastResort(self._kill_all)
        self._signals = Signals(self._last_resort.arm)
        self._time = RunningTime()
        self._hurry_seconds = HURRY_SECONDS
        self._is_open = False
        self._is_draining = False
        self._is_renewal_due = False
        self._failure = ""

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT and the drain after it; raise `WorkersFailed`.

        A second SIGINT ends the drain, a third one kills. SIGHUP replaces the workers, if the
        renewal says by what; those that come before all have been replaced are one, and are obeyed
        then.
        """
        while (self._members or not self._is_draining) and not self._has_given_up():
            self._fill_up()
            self._renew()
            self._wait()
            self._enforce()
            self._last_resort.wait()
        if self._failure:
            raise WorkersFailed(self._failure)

    def _wait(self) -> None:
        """Wait until something happens or is due, and act on it."""
        sources: list[readable.Source] = [
            self._signals.inbox,
            *(each.channel for each in self._members),
            *self._renewal.readings,
        ]
        patience = self._patience()
        told = readable.wait(sources, patience)
        self._time.advance(patience)
        if self._signals.inbox in told:
            self._obey(self._signals.take())
        for member in [each for each in self._members if each.channel in told]:
            self._hear(member)
        if any(each in told for each in self._renewal.readings):
            self._finish_reading()

    def _staying(self) -> list[Member]:
        members = [each for each in self._members if not each.is_leaving]
        return [each for each in members if each not in self._successors]

    def _is_short(self) -> bool:
        return not self._is_draining and len(self._staying()) < self._count

    def _patience(self) -> float:
        """Return for how many seconds there is nothing to do unless something happens."""
        due = [each.deadline for each in self._members]
        if self._renewal.readings:
            due.append(self._renewal.deadline)
        patience = min([pulse.HUNG_SECONDS / _LOOKS, *(each - self._time.now for each in due)])
        if self._is_short():
            patience = min(patience, self._restarts.pause)
        return max(patience, 0.0)

    def _fill_up(self) -> None:
        while self._is_short() and self._restarts.pause == 0.0:
            try:
                self._fork(self._work)
            except (OSError, MemoryError) as error:
                self._miss(_why_not_forked(error), age=0.0)

    def _fork(self, work: Work) -> Member:
        ours, theirs = socket.socketpair()
        try:
            beats = Pulse()
            pid = fork(partial(self._become_worker, work, ours, theirs, beats))
        except (OSError, MemoryError):
            ours.close()
            raise
        finally:
            theirs.close()
        self._members.append(Member(pid, ours, beats, work.drain_seconds, self._time.now))
        return self._members[-1]

    def _become_worker(
        self, work: Work, ours: socket.socket, theirs: socket.socket, beats: Pulse
    ) -> None:
        """In the new process: close what is the supervisor's, and serve.

        With a copy of the other ends of the channels open, no worker would notice its end.
        """
        self._signals.forget()
        let_through()
        self._renewal.let_go()
        ours.close()
        for elder in self._members:
            elder.let_go()
        work.serve(theirs, beats)

    def _enforce(self) -> None:
        """Kill workers that are past their deadline or hung, and a child that reads too long."""
        now = self._time.now
        for each in self._members:
            if each.is_killed:
                continue
            if each.deadline <= now:
                self._kill(each, "timed out while it drained")
            elif each.is_hung(now):
                self._kill(each, f"has not responded for {pulse.HUNG_SECONDS:g}s")
        if self._renewal.readings and self._renewal.deadline <= now:
            self._renewal.abandon()
            logger.error("the reload failed; reading the configuration timed out")

    def _kill(self, member: Member, reason: str) -> None:
        logger.error("worker %d %s: sending SIGKILL", member.pid, reason)
        member.kill(self._time.now + LAST_SECONDS if self._is_draining else math.inf)
        if self._is_draining and not self._failure:
            self._failure = "a worker had to be killed during the drain"

    def _kill_all(self) -> None:
        for each in self._members:
            os.kill(each.pid, signal.SIGKILL)

    def _has_given_up(self) -> bool:
        """Tell whether a drain waits only for processes that SIGKILL did not end in time."""
        left = self._members if self._is_draining else []
        if not left or not all(each.is_killed for each in left):
            return False
        if any(each.deadline > self._time.now for each in left):
            return False
        pids = ", ".join(str(each.pid) for each in left)
        self._failure = f"SIGKILL did not end worker {pids}, which probably waits for a disk"
        return True

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
                self._hurry()

    def _hurry(self) -> None:
        """Have all end without waiting for requests; the next time, kill them."""
        wait, self._hurry_seconds = self._hurry_seconds, 0.0
        for each in self._members:
            each.hurry(self._time.now + wait)

    def _renew(self) -> None:
        """Begin to read the configuration, if that was asked for and nothing is under way."""
        is_busy = self._successors or self._renewal.readings
        if is_busy or not self._is_open or self._is_draining or not self._is_renewal_due:
            return
        self._is_renewal_due = False
        try:
            self._renewal.begin(self._time.now)
        except (OSError, MemoryError) as error:
            logger.error("the reload failed; %s", _why_not_forked(error))

    def _finish_reading(self) -> None:
        """Fork as many workers again, once the child process has read what they are to do."""
        try:
            work = self._renewal.work()
        except ChildFailed as error:
            logger.error("the reload failed; %s", error)
            return
        except Exception:
            logger.exception("the reload failed; the registry goes on")
            return
        if work is None:
            return
        self._their_work = work
        try:
            for _ in range(self._count):
                self._successors.append(self._fork(work))
        except (OSError, MemoryError) as error:
            self._call_off(_why_not_forked(error))

    def _take_over(self) -> None:
        """Let those that are new begin, once all of them are ready, and all others leave."""
        if not all(each.is_ready for each in self._successors):
            return
        elders = self._staying()
        for each in self._successors:
            each.go()
        for each in elders:
            self._dismiss(each)
        self._replaced += elders
        self._successors, self._work = [], self._their_work

    def _call_off(self, reason: str) -> None:
        """Have those that were to take over leave, because one of them can't."""
        logger.error("%s; the workers it was to replace go on as before", reason)
        for each in self._successors:
            self._dismiss(each)
        self._successors = []

    def _dismiss(self, member: Member) -> None:
        """Have a worker drain and end, within its time."""
        member.leave(self._time.now + member.drain_seconds + MARGIN_SECONDS)

    def _drain(self) -> None:
        """Have all leave; the kernel refuses connections once the last has closed the socket too.

        Refused, a client tries the next server at once; left in a queue it would wait.
        """
        self._is_draining = True
        self._successors = []
        self._renewal.abandon()
        for listener in self._listeners:
            listener.close()
        for member in self._members:
            if member.is_killed:
                member.kill(self._time.now + LAST_SECONDS)
            self._dismiss(member)


def _why_not_forked(error: OSError | MemoryError) -> str:
    reason = error.strerror if isinstance(error, OSError) else "out of memory"
    return f"no process can be forked: {reason}"
