"""The end of workers: the drain of all of them, and SIGKILL for those that do not respond."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import Sequence

from registry_server.serving.workers.generations import Generations
from registry_server.serving.workers.running_time import RunningTime
from registry_server.serving.workers.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

# Seconds after a second SIGINT in which a worker saves the progress of cancelled uploads and exits.
HURRY_SECONDS = 5.0
# Seconds in which a killed process exits unless it is blocked on a disk.
LAST_SECONDS = 5.0


class Shutdown:
    """Ends the workers; `failure` says why the supervisor fails, and is "" if it does not.

    SIGKILL does not end a process that is blocked on a disk. During a drain such a worker is waited
    for `LAST_SECONDS`. At other times it is replaced only after it has exited, because its
    successor would block on the same disk.
    """

    def __init__(
        self, generations: Generations, listeners: Sequence[socket.socket], time: RunningTime
    ) -> None:
        self.has_begun = False
        self.failure = ""
        self._generations = generations
        self._listeners = listeners
        self._time = time
        self._hurry_seconds = HURRY_SECONDS

    def begin(self, failure: str = "") -> None:
        """Close the listeners and drain all workers.

        The kernel refuses connections once the last worker has closed its copy of the socket. A
        refused client tries the next server immediately; one left in the queue would wait.
        """
        self.has_begun = True
        self.failure = self.failure or failure
        for listener in self._listeners:
            listener.close()
        self._generations.drain()
        for worker in self._generations.workers:
            if worker.is_killed:
                worker.kill(self._time.now + LAST_SECONDS)

    def hurry(self) -> None:
        """Tell all workers to exit without waiting for requests; the next call kills them."""
        wait, self._hurry_seconds = self._hurry_seconds, 0.0
        for worker in self._generations.workers:
            worker.hurry(self._time.now + wait)

    def kill_unresponsive(self) -> None:
        """Kill the workers that are hung, or past the deadline of their drain."""
        for worker in self._generations.workers:
            if reason := worker.reason_to_kill(self._time.now):
                self._kill(worker, reason)

    def kill_all(self) -> None:
        """Kill all workers; safe to call in a signal handler."""
        for worker in self._generations.workers:
            os.kill(worker.pid, signal.SIGKILL)

    def gives_up(self) -> bool:
        """Return True if a drain waits only for processes that SIGKILL did not end in time."""
        left = self._generations.workers if self.has_begun else []
        if not left or not all(worker.is_killed for worker in left):
            return False
        if any(worker.deadline > self._time.now for worker in left):
            return False
        pids = ", ".join(str(worker.pid) for worker in left)
        self.failure = f"SIGKILL did not end worker {pids}, probably because it waits for a disk"
        return True

    def _kill(self, worker: WorkerProcess, reason: str) -> None:
        logger.error("worker %d %s: sending SIGKILL", worker.pid, reason)
        worker.kill(self._time.now + LAST_SECONDS if self.has_begun else math.inf)
        if self.has_begun and not self.failure:
            self.failure = "a worker was killed because it did not finish its drain"
