"""Collections on a schedule: when one is due, and the process that does it."""

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
from registry_server.jobs.job import Job
from storage.drivers.base import Driver
from storage.maintenance.garbage.last import seconds_since_last
from storage.values.paths import COLLECTION, claim

logger = logging.getLogger(__name__)

# Seconds between looks whether one is due; each worker of each server looks.
_PAUSE = 60.0
# Seconds a collector has to end its batch when it is told to.
_PATIENCE = 4.0


class _Hung(Exception):
    """A collector shows no sign of life. It may hold a lock that pushes wait for."""


class _Skips:
    """Says that collections are skipped: at the first, and once per interval until one ends.

    One that goes on elsewhere is the usual reason, and no reason to worry for an interval.
    """

    def __init__(self, job: Job) -> None:
        self._interval = job.interval
        self._lock = f"{job.root}/{claim(COLLECTION)}"
        self._say_at = -math.inf
        self._level = logging.INFO

    def add(self) -> None:
        """Take in that a collection was skipped."""
        now = time.monotonic()
        if now < self._say_at:
            return
        said = (
            "garbage collection skipped: another one is running, hangs or is suspended; it holds %s"
        )
        logger.log(self._level, said, self._lock)
        self._say_at, self._level = now + self._interval, logging.WARNING

    def end(self) -> None:
        """Take in that no collection is due."""
        self._say_at, self._level = -math.inf, logging.INFO


async def collect_for_ever(driver: Driver, settings: GarbageCollection, job: Job) -> None:
    """Have garbage collected once per interval, in the window if there is one.

    Workers and servers on one storage share what is due: who is second finds it done, or going on.
    Whatever goes wrong is logged and does not end this.
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
            logger.exception("garbage was not collected; it is tried again")


async def _collect(settings: GarbageCollection, job: Job, skips: _Skips) -> None:
    now = datetime.now().astimezone()
    if settings.window is None:
        await _run(job, skips, limit=None)
    elif settings.window.contains(now):
        await _run(job, skips, limit=settings.window.left(now))


async def _run(job: Job, skips: _Skips, limit: float | None) -> None:
    """Run a collector for `limit` seconds at most, and have the log say what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "registry_server.jobs.collector",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,  # Ctrl-C in a terminal is for the server, which will tell it
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(job.line())
        async with asyncio.timeout(limit):
            await _log(process.stdout)
    except TimeoutError:
        logger.info("the time for collecting garbage is over for today")
    except _Hung:
        said = "the garbage collector has not responded for %gs: sending SIGKILL"
        logger.error(said, jobs.HUNG_SECONDS)
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
        said: Mapping[str, object] = json.loads(line)
        level = said["level"] if isinstance(said["level"], int) else logging.ERROR
        logging.getLogger(str(said["name"])).log(level, "%s", said["message"])


async def _next(lines: asyncio.StreamReader) -> bytes:
    """Return the next line; raise `_Hung` if none comes in time."""
    try:
        async with asyncio.timeout(jobs.HUNG_SECONDS):
            return await lines.readline()
    except TimeoutError:
        raise _Hung from None


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for a collector whose stdin has ended; one that does not end may be killed any time."""
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE)
    except TimeoutError:
        logger.warning("the garbage collector did not end in time and was killed")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _environment() -> Mapping[str, str]:
    """Return ours, with the place this program was found in, wherever it runs."""
    here = str(Path(__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([here, known] if known else [here])}
