"""One collection in a process of its own: `python -m registry_server.jobs.collector`.

Walking a tree keeps an interpreter busy, and requests would wait for it. So the server starts a
process with a low priority. It reads a `CollectionJob` as a line of JSON from stdin, and stops at
the end of stdin, because the server closes it or has ended. It writes its log to stdout, one JSON
object per line, which the server logs. Empty lines are heartbeats.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import sys
import threading
from pathlib import Path

from registry_server.jobs.job import BEAT_SECONDS, SKIPPED, CollectionJob
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import AlreadyRunning
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.last_collection import seconds_since_last
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.report import summary, warnings
from storage.maintenance.progress import NoProgress, Stop, Stopped

logger = logging.getLogger(__name__)

_NICENESS = 10
_THREADS = 2


class _Lines(logging.Handler):
    """Writes each log record as a line of JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        line = {"level": record.levelno, "name": record.name, "message": record.getMessage()}
        print(json.dumps(line), flush=True)


async def _run(job: CollectionJob, stop: Stop) -> None:
    """Collect, with heartbeats meanwhile."""
    beating = asyncio.create_task(_beat())
    try:
        await _collect(job, stop)
    finally:
        beating.cancel()


async def _beat() -> None:
    while True:
        print(flush=True)
        await asyncio.sleep(BEAT_SECONDS)


async def _collect(job: CollectionJob, stop: Stop) -> None:
    driver = FilesystemDriver(Path(job.root), sync=job.fsync, threads=_THREADS)
    options = Options(job.grace, delete_untagged=job.delete_untagged)
    try:
        async with planned(driver, options, NoProgress(), stop) as plan:
            # Another server on this storage may have finished a collection meanwhile.
            if await seconds_since_last(driver) < job.interval:
                return
            swept = await carry_out(driver, plan, NoProgress(), stop)
            logger.info("garbage collection: %s", summary(swept))
            for line in warnings(plan):
                logger.warning("garbage collection: %s", line)
    finally:
        await driver.close()


def _stop_at_end_of_stdin(stop: Stop) -> None:
    sys.stdin.read()
    stop.request()


def main() -> None:
    """Run the job that stdin describes."""
    logging.basicConfig(level=logging.INFO, handlers=[_Lines()])
    os.nice(_NICENESS)
    job, stop = CollectionJob(**json.loads(sys.stdin.readline())), Stop()
    threading.Thread(target=_stop_at_end_of_stdin, args=(stop,), daemon=True).start()
    try:
        asyncio.run(_run(job, stop))
    except AlreadyRunning:
        sys.exit(SKIPPED)
    except Stopped as reason:
        logger.debug("garbage collection stopped: %r", reason)
    except (OSError, sqlite3.Error) as error:
        logger.error("garbage collection failed, the next one continues: %s", error)


if __name__ == "__main__":
    main()
