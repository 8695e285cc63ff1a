"""The process that forks, monitors and replaces the workers; it serves no requests itself.

It imports everything before it forks, so that workers start quickly and share that memory. It must
have no threads. A channel, a pair of connected sockets, links it to each worker: the worker sends
"ready", the supervisor sends "go", and each detects the other's exit by the end of the channel. So
neither has to poll, and no worker outlives its supervisor, even one that was killed.

At startup all workers get "go" together: otherwise the first one would accept, and keep, all the
connections that clients open then. A worker that is forked later gets "go" when it is ready.

At a reload (`reload`) a child process reads the configuration, and a new generation of as many
workers is forked. When all of them are ready they get "go" and the current generation drains. So
all clients see the new settings from the same moment. If a new worker fails, the whole new
generation is called off and the current one continues.

A worker may hang or be stopped, and one of its threads may be blocked on a disk. So a draining
worker has a deadline after which it is killed, and a worker without a heartbeat is killed too
(`shutdown`). The supervisor itself may block when nothing reads its log pipe; then `watchdog` ends
it.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Sequence
from typing import Any

from registry_server.serving.workers import heartbeat
from registry_server.serving.workers.descriptors import wait_until_readable
from registry_server.serving.workers.fork import why_not_forked
from registry_server.serving.workers.generation import Generation
from registry_server.serving.workers.generations import Generations
from registry_server.serving.workers.lifecycle import LifecycleEvents
from registry_server.serving.workers.reload import Reload
from registry_server.serving.workers.reload_process import ReloadProcess
from registry_server.serving.workers.restart_backoff import RestartBackoff
from registry_server.serving.workers.running_time import RunningTime
from registry_server.serving.workers.shutdown import Shutdown
from registry_server.serving.workers.signals import Signals, unblock_signals
from registry_server.serving.workers.watchdog import Watchdog
from registry_server.serving.workers.worker_process import WorkerProcess, WorkerSpec

logger = logging.getLogger(__name__)

# How often the supervisor checks the heartbeats in `HUNG_SECONDS`.
_CHECKS = 6


class WorkersFailed(Exception):
    """Workers cannot start, or had to be killed; the message says which and why."""


class Supervisor:
    """Keeps `count` workers running, each of which runs `spec`.

    `listeners` are the sockets that the workers accept connections on; they are closed when the
    drain begins. `process` provides the new specification after SIGHUP. `events` is called when all
    workers accept connections and when the drain begins.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        listeners: Sequence[socket.socket],
        count: int,
        process: ReloadProcess[Any],
        events: LifecycleEvents,
    ) -> None:
        self._events = events
        self._process = process
        self._time = RunningTime()
        self._generations = Generations(spec, count, self._time, self._close_inherited)
        self._backoff = RestartBackoff()
        self._reload = Reload(process, self._generations, self._time)
        self._shutdown = Shutdown(self._generations, listeners, self._time)
        self._watchdog = Watchdog(self._shutdown.kill_all)
        self._signals = Signals(self._watchdog.arm)
        self._is_open = False

    def run(self) -> None:
        """Supervise until the drain after SIGTERM or SIGINT ends; raise `WorkersFailed`.

        A second SIGINT cuts the drain short, a third one kills. SIGHUP reloads.
        """
        while self._is_running():
            self._start_missing()
            if self._is_open and not self._shutdown.has_begun:
                self._reload.begin_if_requested()
            self._wait()
            self._shutdown.kill_unresponsive()
            self._reload.abandon_overdue()
            self._watchdog.restart()
        if self._shutdown.failure:
            raise WorkersFailed(self._shutdown.failure)

    def _is_running(self) -> bool:
        if not self._shutdown.has_begun:
            return True
        return bool(self._generations.workers) and not self._shutdown.gives_up()

    def _wait(self) -> None:
        """Wait for the next event or deadline, and handle the events."""
        channels = [worker.channel for worker in self._generations.workers]
        timeout = self._timeout()
        ready = wait_until_readable(
            [self._signals.inbox, *channels, *self._process.sources], timeout
        )
        self._time.advance(timeout)
        if self._signals.inbox in ready:
            for received in self._signals.take():
                self._handle_signal(received)
        for generation in self._generations:
            for worker in [one for one in generation.workers if one.channel in ready]:
                self._handle_channel(generation, worker)
        if any(source in ready for source in self._process.sources):
            self._reload.fork_next()

    def _timeout(self) -> float:
        """Return the seconds until the next deadline, check or restart."""
        deadlines = [worker.deadline for worker in self._generations.workers]
        left = [deadline - self._time.now for deadline in (*deadlines, self._process.deadline)]
        timeout = min([heartbeat.HUNG_SECONDS / _CHECKS, *left])
        if self._generations.current.lacks_workers:
            timeout = min(timeout, self._backoff.pause)
        return max(timeout, 0.0)

    def _start_missing(self) -> None:
        if self._backoff.pause > 0.0:
            return
        try:
            self._generations.current.start_missing()
        except (OSError, MemoryError) as error:
            self._record_missing(why_not_forked(error), age=0.0)

    def _close_inherited(self) -> None:
        """In a new worker: close the supervisor's descriptors and unblock the signals."""
        self._signals.forget()
        unblock_signals()
        self._process.close()
        for worker in self._generations.workers:
            worker.close()

    def _handle_channel(self, generation: Generation, worker: WorkerProcess) -> None:
        if not worker.reads_life_sign():
            self._reap(generation, worker)
        elif generation.is_accepting:
            worker.start()
        elif generation is self._generations.next:
            if generation.is_ready:
                self._generations.replace_current()
        elif generation.is_ready and not generation.is_draining:
            generation.accept()
            self._is_open = True
            self._events.opened()

    def _reap(self, generation: Generation, worker: WorkerProcess) -> None:
        generation.workers.remove(worker)
        age, ended = worker.age, worker.reap()
        if generation is self._generations.next:
            self._reload.call_off(ended)
        elif not generation.is_draining:
            self._record_missing(ended, age)
        elif worker.has_failed:
            logger.error(ended)
        is_replaced = generation.is_accepting and generation is not self._generations.current
        if is_replaced and not generation.workers:
            logger.info("every request that began before the reload has ended")

    def _record_missing(self, reason: str, age: float) -> None:
        """Record that a worker is missing; drain and fail if no worker can be started."""
        logger.error(reason)
        self._backoff.record_exit(age)
        is_served = any(worker.is_ready for worker in self._generations.workers)
        if not self._is_open or (self._backoff.is_exhausted and not is_served):
            self._drain(reason)

    def _handle_signal(self, received: signal.Signals) -> None:
        if received is signal.SIGHUP:
            self._reload.request()
        elif not self._shutdown.has_begun:
            self._events.stopping(received)
            self._drain()
        elif received is signal.SIGINT:
            self._shutdown.hurry()

    def _drain(self, failure: str = "") -> None:
        self._process.abandon()
        self._shutdown.begin(failure)
