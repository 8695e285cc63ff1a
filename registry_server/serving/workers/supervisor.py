"""The process that forks, monitors and replaces the workers; it serves no requests itself.

It imports everything before it forks, so that workers start quickly and share that memory. It must
have no threads. A channel, a pair of connected sockets, links it to each worker: the worker sends
"ready", the supervisor sends "go", and each detects the other's exit by the end of the channel. So
neither has to poll, and no worker outlives its supervisor, even one that was killed.

At startup all workers get "go" together: otherwise the first one would accept, and keep, all the
connections that clients open then. A worker that is forked later gets "go" when it is ready.

At a reload a child process reads the configuration, and a new generation of as many workers is
forked. When all of them are ready they get "go" and the old generation drains. So all clients see
the new settings from the same moment. If a new worker fails, the whole new generation is dismissed
and the old one continues.

A worker may hang or be stopped, and one of its threads may be blocked on a disk. So a draining
worker has a deadline after which it is killed, and a worker without a pulse is killed too. SIGKILL
does not end a process that is blocked on a disk. During a drain the supervisor waits `LAST_SECONDS`
for such a worker. Otherwise the worker is replaced only after it has exited, because its successor
would block on the same disk. The supervisor itself may block when nothing reads its log pipe; then
`last_resort` ends it.
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

from registry_server.serving.workers import poll, pulse
from registry_server.serving.workers.child import ChildFailed
from registry_server.serving.workers.fork import fork
from registry_server.serving.workers.last_resort import LastResort
from registry_server.serving.workers.member import Member
from registry_server.serving.workers.milestones import Milestones
from registry_server.serving.workers.pulse import Pulse
from registry_server.serving.workers.reload import Reload
from registry_server.serving.workers.restarts import Restarts
from registry_server.serving.workers.running_time import RunningTime
from registry_server.serving.workers.signals import Signals, unblock_signals
from registry_server.serving.workers.work import Work

logger = logging.getLogger(__name__)

# Seconds after the drain in which a worker saves the progress of cancelled uploads and exits.
MARGIN_SECONDS = 10.0
# Seconds for the same after a second SIGINT.
HURRY_SECONDS = 5.0
# Seconds in which a killed process exits unless it is blocked on a disk.
LAST_SECONDS = 5.0
# How often the supervisor checks the pulses in `HUNG_SECONDS`.
_CHECKS = 6


class WorkersFailed(Exception):
    """Workers cannot start, or had to be killed; the message says which and why."""


class Supervisor:
    """Keeps `count` workers running, each of which runs `work`.

    `listeners` are the sockets that the workers accept connections on; they are closed when the
    drain begins. `reload` provides the new work after SIGHUP. `milestones` is called when all
    workers accept connections and when the drain begins.
    """

    def __init__(
        self,
        work: Work,
        listeners: Sequence[socket.socket],
        count: int,
        reload: Reload[Any],
        milestones: Milestones,
    ) -> None:
        self._work = work
        self._listeners = listeners
        self._milestones = milestones
        self._count = count
        self._reload = reload
        self._members: list[Member] = []
        self._successors: list[Member] = []  # the new generation, until it takes over
        self._next_work = work
        self._replaced: list[Member] = []  # the old generation, while it drains
        self._restarts = Restarts()
        self._last_resort = LastResort(self._kill_all)
        self._signals = Signals(self._last_resort.arm)
        self._time = RunningTime()
        self._hurry_seconds = HURRY_SECONDS
        self._is_open = False
        self._is_draining = False
        self._is_reload_due = False
        self._failure = ""

    def run(self) -> None:
        """Supervise until the drain after SIGTERM or SIGINT ends; raise `WorkersFailed`.

        A second SIGINT cuts the drain short, a third one kills. SIGHUP reloads. The SIGHUPs that
        arrive during a reload cause one more reload.
        """
        while (self._members or not self._is_draining) and not self._has_given_up():
            self._start_missing()
            self._start_reload()
            self._wait()
            self._enforce()
            self._last_resort.restart()
        if self._failure:
            raise WorkersFailed(self._failure)

    def _wait(self) -> None:
        """Wait for the next event or deadline, and handle the events."""
        sources: list[poll.Source] = [
            self._signals.inbox,
            *(member.channel for member in self._members),
            *self._reload.readings,
        ]
        timeout = self._timeout()
        ready = poll.wait(sources, timeout)
        self._time.advance(timeout)
        if self._signals.inbox in ready:
            self._handle_signals(self._signals.take())
        for member in [member for member in self._members if member.channel in ready]:
            self._handle_channel(member)
        if any(reading in ready for reading in self._reload.readings):
            self._finish_reload()

    def _current_workers(self) -> list[Member]:
        members = [member for member in self._members if not member.is_draining]
        return [member for member in members if member not in self._successors]

    def _lacks_workers(self) -> bool:
        return not self._is_draining and len(self._current_workers()) < self._count

    def _timeout(self) -> float:
        """Return the seconds until the next deadline, check or restart."""
        deadlines = [member.deadline for member in self._members]
        if self._reload.readings:
            deadlines.append(self._reload.deadline)
        left = [deadline - self._time.now for deadline in deadlines]
        timeout = min([pulse.HUNG_SECONDS / _CHECKS, *left])
        if self._lacks_workers():
            timeout = min(timeout, self._restarts.pause)
        return max(timeout, 0.0)

    def _start_missing(self) -> None:
        while self._lacks_workers() and self._restarts.pause == 0.0:
            try:
                self._fork(self._work)
            except (OSError, MemoryError) as error:
                self._note_missing(_why_not_forked(error), age=0.0)

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
        """In the new process: close the supervisor's descriptors, and serve.

        A copy of the supervisor's end of a channel would keep its worker from seeing the end.
        """
        self._signals.forget()
        unblock_signals()
        self._reload.close()
        ours.close()
        for member in self._members:
            member.close()
        work.serve(theirs, beats)

    def _enforce(self) -> None:
        """Kill workers that are past their deadline or hung, and a child whose read timed out."""
        now = self._time.now
        for member in self._members:
            if member.is_killed:
                continue
            if member.deadline <= now:
                self._kill(member, "timed out while it drained")
            elif member.is_hung(now):
                self._kill(member, f"has not responded for {pulse.HUNG_SECONDS:g}s")
        if self._reload.readings and self._reload.deadline <= now:
            self._reload.abandon()
            logger.error("the reload failed; reading the configuration timed out")

    def _kill(self, member: Member, reason: str) -> None:
        logger.error("worker %d %s: sending SIGKILL", member.pid, reason)
        member.kill(self._time.now + LAST_SECONDS if self._is_draining else math.inf)
        if self._is_draining and not self._failure:
            self._failure = "a worker was killed because it did not finish its drain"

    def _kill_all(self) -> None:
        for member in self._members:
            os.kill(member.pid, signal.SIGKILL)

    def _has_given_up(self) -> bool:
        """Return True if a drain waits only for processes that SIGKILL did not end in time."""
        left = self._members if self._is_draining else []
        if not left or not all(member.is_killed for member in left):
            return False
        if any(member.deadline > self._time.now for member in left):
            return False
        pids = ", ".join(str(member.pid) for member in left)
        self._failure = f"SIGKILL did not end worker {pids}, probably because it waits for a disk"
        return True

    def _handle_channel(self, member: Member) -> None:
        if not member.reads_life_sign():
            self._reap(member)
        elif member in self._successors:
            self._take_over()
        elif self._is_open:
            member.start()
        elif all(worker.is_ready for worker in self._members):
            self._is_open = True
            for worker in self._members:
                worker.start()
            self._milestones.opened()

    def _reap(self, member: Member) -> None:
        self._members.remove(member)
        age, ended = member.age, member.reap()
        if member in self._successors:
            self._call_off(ended)
        elif not member.is_draining:
            self._note_missing(ended, age)
        elif member.has_failed:
            logger.error(ended)
        if member in self._replaced:
            self._replaced.remove(member)
            if not self._replaced:
                logger.info("every request that began before the reload has ended")

    def _note_missing(self, reason: str, age: float) -> None:
        """Record that a worker is missing; drain and fail if no worker can be started."""
        logger.error(reason)
        self._restarts.note_end(age)
        is_served = any(member.is_ready for member in self._members)
        if not self._is_open or (self._restarts.are_hopeless and not is_served):
            self._failure = reason
            self._drain()

    def _handle_signals(self, signals: list[signal.Signals]) -> None:
        for received in signals:
            if received is signal.SIGHUP:
                logger.info("received SIGHUP")
                self._is_reload_due = True
            elif not self._is_draining:
                self._milestones.stopping(received)
                self._drain()
            elif received is signal.SIGINT:
                self._hurry()

    def _hurry(self) -> None:
        """Tell all workers to exit without waiting for requests; the next call kills them."""
        wait, self._hurry_seconds = self._hurry_seconds, 0.0
        for member in self._members:
            member.hurry(self._time.now + wait)

    def _start_reload(self) -> None:
        """Start to read the configuration if a reload is due and none is in progress."""
        is_busy = self._successors or self._reload.readings
        if is_busy or not self._is_open or self._is_draining or not self._is_reload_due:
            return
        self._is_reload_due = False
        try:
            self._reload.begin(self._time.now)
        except (OSError, MemoryError) as error:
            logger.error("the reload failed; %s", _why_not_forked(error))

    def _finish_reload(self) -> None:
        """Fork the new generation when the child process has read the configuration."""
        try:
            work = self._reload.work()
        except ChildFailed as error:
            logger.error("the reload failed; %s", error)
            return
        except Exception:
            logger.exception("the reload failed; the previous workers continue")
            return
        if work is None:
            return
        self._next_work = work
        try:
            for _ in range(self._count):
                self._successors.append(self._fork(work))
        except (OSError, MemoryError) as error:
            self._call_off(_why_not_forked(error))

    def _take_over(self) -> None:
        """Once the whole new generation is ready, start it and drain the old one."""
        if not all(member.is_ready for member in self._successors):
            return
        old_generation = self._current_workers()
        for member in self._successors:
            member.start()
        for member in old_generation:
            self._dismiss(member)
        self._replaced += old_generation
        self._successors, self._work = [], self._next_work

    def _call_off(self, reason: str) -> None:
        """Dismiss the new generation because one of its workers failed."""
        logger.error("the reload failed; the previous workers continue: %s", reason)
        for member in self._successors:
            self._dismiss(member)
        self._successors = []

    def _dismiss(self, member: Member) -> None:
        """Tell a worker to drain and to exit within its time limit."""
        member.drain(self._time.now + member.drain_seconds + MARGIN_SECONDS)

    def _drain(self) -> None:
        """Close the listeners and drain all workers.

        The kernel refuses connections once the last worker has closed its copy of the socket. A
        refused client tries the next server immediately; one left in the queue would wait.
        """
        self._is_draining = True
        self._successors = []
        self._reload.abandon()
        for listener in self._listeners:
            listener.close()
        for member in self._members:
            if member.is_killed:
                member.kill(self._time.now + LAST_SECONDS)
            self._dismiss(member)


def _why_not_forked(error: OSError | MemoryError) -> str:
    reason = error.strerror if isinstance(error, OSError) else "out of memory"
    return f"can't fork a process: {reason}"
