"""A generation: the workers that run with the same configuration."""

from __future__ import annotations

from collections.abc import Callable

from registry_server.serving.workers.worker_process import WorkerProcess, WorkerSpec

# Seconds after the drain in which a worker saves the progress of cancelled uploads and exits.
MARGIN_SECONDS = 10.0


class Generation:
    """Up to `count` workers that run `spec`, each forked by `fork`."""

    def __init__(
        self, spec: WorkerSpec, count: int, fork: Callable[[WorkerSpec], WorkerProcess]
    ) -> None:
        self.workers: list[WorkerProcess] = []
        self.is_accepting = False
        self.is_draining = False
        self._spec = spec
        self._count = count
        self._fork = fork

    @property
    def lacks_workers(self) -> bool:
        """Return True if `start_missing` has workers to fork."""
        return not self.is_draining and len(self.workers) < self._count

    @property
    def is_ready(self) -> bool:
        """Return True if all `count` workers are ready to accept connections."""
        return not self.lacks_workers and all(worker.is_ready for worker in self.workers)

    def start_missing(self) -> None:
        """Fork the missing workers; raise OSError or MemoryError if that fails."""
        while self.lacks_workers:
            self.workers.append(self._fork(self._spec))

    def accept(self) -> None:
        """Tell all workers, which are ready, to accept connections."""
        self.is_accepting = True
        for worker in self.workers:
            worker.start()

    def drain(self, now: float) -> None:
        """Tell all workers to drain, and to exit within their time limit."""
        self.is_draining = True
        for worker in self.workers:
            worker.drain(now + self._spec.drain_seconds + MARGIN_SECONDS)
