"""A reload: from SIGHUP until a new generation has replaced the current one."""

from __future__ import annotations

import logging
from typing import Any

from registry_server.serving.workers.fork import why_not_forked
from registry_server.serving.workers.forked_call import ForkedCallFailed
from registry_server.serving.workers.generations import Generations
from registry_server.serving.workers.reload_process import ReloadProcess
from registry_server.serving.workers.running_time import RunningTime

logger = logging.getLogger(__name__)


class Reload:
    """Reads the configuration in a child process, forks a generation, and lets it take over.

    A request during a reload causes one more reload. A failure is logged; the workers continue.
    """

    def __init__(
        self, process: ReloadProcess[Any], generations: Generations, time: RunningTime
    ) -> None:
        self._process = process
        self._generations = generations
        self._time = time
        self._is_requested = False

    def request(self) -> None:
        """Request a reload; `begin_if_requested` begins it."""
        logger.info("received SIGHUP")
        self._is_requested = True

    def begin_if_requested(self) -> None:
        """Start to read the configuration, unless a reload is in progress."""
        is_busy = self._generations.next is not None or self._process.sources
        if is_busy or not self._is_requested:
            return
        self._is_requested = False
        try:
            self._process.begin(self._time.now)
        except (OSError, MemoryError) as error:
            logger.error("the reload failed; %s", why_not_forked(error))

    def fork_next(self) -> None:
        """Fork the next generation once the child process has read the configuration."""
        try:
            spec = self._process.result()
        except ForkedCallFailed as error:
            logger.error("the reload failed; %s", error)
            return
        except Exception:
            logger.exception("the reload failed; the previous workers continue")
            return
        if spec is None:
            return
        try:
            self._generations.fork_next(spec)
        except (OSError, MemoryError) as error:
            self.call_off(why_not_forked(error))

    def call_off(self, reason: str) -> None:
        """Drain the next generation because one of its workers failed."""
        logger.error("the reload failed; the previous workers continue: %s", reason)
        self._generations.call_off_next()

    def abandon_overdue(self) -> None:
        """Kill the child process if it is past its deadline."""
        if self._process.deadline <= self._time.now:
            self._process.abandon()
            logger.error("the reload failed; reading the configuration timed out")
