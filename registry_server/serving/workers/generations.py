"""The generations whose workers run: the current one, the next one, and those that drain."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from registry_server.serving.workers.generation import Generation
from registry_server.serving.workers.running_time import RunningTime
from registry_server.serving.workers.worker_process import WorkerProcess, WorkerSpec


class Generations:
    """Replaces the current generation by the next one, at one moment.

    `next` is the new generation while it starts. `close_inherited` is called in each new worker.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        count: int,
        time: RunningTime,
        close_inherited: Callable[[], None],
    ) -> None:
        self._count = count
        self._time = time
        self._close_inherited = close_inherited
        self.current = self._new(spec)
        self.next: Generation | None = None
        self._previous: list[Generation] = []  # replaced or called off; they drain

    def __iter__(self) -> Iterator[Generation]:
        """Iterate over a copy, so that handling a worker may change the generations."""
        return iter([self.current, *([self.next] if self.next else ()), *self._previous])

    @property
    def workers(self) -> list[WorkerProcess]:
        """Return the workers of all generations."""
        return [worker for generation in self for worker in generation.workers]

    def fork_next(self, spec: WorkerSpec) -> None:
        """Fork a generation; if that raises OSError or MemoryError, `call_off_next` ends it."""
        self.next = self._new(spec)
        self.next.start_missing()

    def replace_current(self) -> None:
        """Let the next generation, which is ready, accept connections; drain the current one."""
        assert self.next is not None
        self.next.accept()
        self._retire(self.current)
        self.current, self.next = self.next, None

    def call_off_next(self) -> None:
        """Drain the next generation, if any, which has accepted no connection."""
        if self.next is not None:
            self._retire(self.next)
            self.next = None

    def drain(self) -> None:
        """Drain all generations."""
        self.call_off_next()
        for generation in self:
            generation.drain(self._time.now)

    def _new(self, spec: WorkerSpec) -> Generation:
        return Generation(spec, self._count, self._fork)

    def _fork(self, spec: WorkerSpec) -> WorkerProcess:
        return WorkerProcess(spec, self._close_inherited, self._time.now)

    def _retire(self, generation: Generation) -> None:
        generation.drain(self._time.now)
        self._previous = [old for old in (*self._previous, generation) if old.workers]
