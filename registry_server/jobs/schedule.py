"""Scheduled garbage collection: when one is due, and the process that runs it."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from registry_server.config.schema import GarbageCollection
from registry_server.jobs import job as jobs
from registry_server.jobs.job import CollectionJob
from storage.drivers.base import Driver
from storage.maintenance.garbage.last_collection import seconds_since_last
from storage.values.paths import COLLECTION, claim

logger = logging.getLogger(__name__)

# Seconds between two checks whether one is due; each worker of each server checks.
_PAUSE = 60.0
# Seconds a collector has to finish its batch when it is stopped.
_PATIENCE = 4.0


class _Hung(Exception):
    """A collector sends no heartbeat. It may hold a lock that blocks pushes."""


class _Skips:
    """Logs skipped collections: the first, then one per interval until a collection ends.

    The usual reason is a collection by another process, so the first is logged at level info.
    """

    def __init__(self, job: CollectionJob) -> None:
        self._interval = job.interval
        self._lock = f"{job.root}/{claim(COLLECTION)}"
        self._log_at = -math.inf
        self._level = logging.INFO

    def add(self) -> None:
        """Count a skipped collection."""
        now = time.monotonic()
        if now < self._log_at:
            return
        message = (
            "garbage collection skipped: another one is running, hung or suspended; it holds %s"
        )
        logger.log(self._level, message, self._lock)
        self._log_at, self._level = now + self._interval, logging.WARNING

    def end(self) -> None:
        """Reset, because no collection is due."""
        self._log_at, self._level = -math.inf, logging.INFO


async def run_gc_schedule(driver: Driver, settings: GarbageCollection, job: CollectionJob) -> None:
    """Collect garbage once per interval, within the window if one is configured.

    All workers and servers on one storage share the schedule. Errors are logged and do not end the
    task.
    """
    pause, skips = min(_PAUSE, job.interval), _Skips(job)
    while True:
        await asyncio.sleep(random.uniform(pause / 2, pause))
        try:
            if await seconds_since_last(driver) >= job.interval:
                await _collect(settings, job, skips)
            else:
                skips.end()
        except Exception:
            logger.exception("garbage collection failed; it will be retried")


async def _collect(settings: GarbageCollection, job: CollectionJob, skips: _Skips) -> None:
    now = datetime.now().astimezone()
    if settings.window is None:
        await _run(job, skips, limit=None)
    elif settings.window.contains(now):
        await _run(job, skips, limit=settings.window.left(now))


async def _run(job: CollectionJob, skips: _Skips, limit: float | None) -> None:
    """Run a collector for at most `limit` seconds and log its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "registry_server.jobs.collector",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,  # Ctrl-C must reach only the server, which stops the collector
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(job.line())
        async with asyncio.timeout(limit):
            await _log(process.stdout)
    except TimeoutError:
        logger.info("garbage collection stopped: the configured window ended")
    except _Hung:
        message = "the garbage collector has not responded for %gs: sending SIGKILL"
        logger.error(message, jobs.HUNG_SECONDS)
        process.kill()
    finally:
        process.stdin.close()
        await _end(process)
    if process.returncode == jobs.SKIPPED:
        skips.add()
    elif process.returncode:
        logger.error("the garbage collector ended with code %d", process.returncode)


async def _log(lines: asyncio.StreamReader) -> None:
    while line := await _next(lines):
        if line.isspace():
            continue
        record: Mapping[str, object] = json.loads(line)
        level = record["level"] if isinstance(record["level"], int) else logging.ERROR
        logging.getLogger(str(record["name"])).log(level, "%s", record["message"])


async def _next(lines: asyncio.StreamReader) -> bytes:
    """Return the next line; raise `_Hung` if none comes in time."""
    try:
        async with asyncio.timeout(jobs.HUNG_SECONDS):
            return await lines.readline()
    except TimeoutError:
        raise _Hung from None


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for a collector whose stdin is closed; kill it if it does not end in time."""
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE)
    except TimeoutError:
        logger.warning("the garbage collector timed out when it was stopped; sending SIGKILL")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _environment() -> Mapping[str, str]:
    """Return our environment, with the folder of this program in PYTHONPATH."""
    here = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([here, path] if path else [here])}
