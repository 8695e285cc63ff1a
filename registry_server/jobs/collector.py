"""One collection in a process of its own: `python -m registry_server.jobs.collector`.

Looking through a tree keeps an interpreter busy, and requests would wait for it. So a server has
another process do it, which is polite to everybody else on the machine. It reads a `Job` as a line
of JSON from stdin, and ends when stdin does: whether the server wishes it or is gone. What it logs
it writes to stdout, a JSON object for each line, for the server's log; empty lines show that it has
not hung.
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

from registry_server.jobs.job import BEAT_SECONDS, SKIPPED, Job
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import AlreadyRunning
from storage.maintenance.garbage.collect import carry_out, planned
from storage.maintenance.garbage.last import seconds_since_last
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.report import summary, warnings
from storage.maintenance.progress import Silence, Stop, Stopped

logger = logging.getLogger(__name__)

_NICENESS = 10
_THREADS = 2


class _Lines(logging.Handler):
    """Writes what is logged as a line of JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        line = {"level": record.levelno, "name": record.name, "message": record.getMessage()}
        print(json.dumps(line), flush=True)


async def _run(job: Job, stop: Stop) -> None:
    """Collect, and show signs of life meanwhile."""
    beating = asyncio.create_task(_beat())
    try:
        await _collect(job, stop)
    finally:
        beating.cancel()


async def _beat() -> None:
    while True:
        print(flush=True)
        await asyncio.sleep(BEAT_SECONDS)


async def _collect(job: Job, stop: Stop) -> None:
    driver = FilesystemDriver(Path(job.root), sync=job.fsync, threads=_THREADS)
    options = Options(job.grace, delete_untagged=job.delete_untagged)
    try:
        async with planned(driver, options, Silence(), stop) as plan:
            # Another server on this storage may have been quicker.
            if await seconds_since_last(driver) < job.interval:
                return
            swept = await carry_out(driver, plan, Silence(), stop)
            logger.info("garbage collection: %s", summary(swept))
            for line in warnings(plan):
                logger.warning("garbage collection: %s", line)
    finally:
        await driver.close()


def _wish_at_end_of_stdin(stop: Stop) -> None:
    sys.stdin.read()
    stop.wish()


def main() -> None:
    """Do the job that stdin names."""
    logging.basicConfig(level=logging.INFO, handlers=[_Lines()])
    os.nice(_NICENESS)
    job, stop = Job(**json.loads(sys.stdin.readline())), Stop()
    threading.Thread(target=_wish_at_end_of_stdin, args=(stop,), daemon=True).start()
    try:
        asyncio.run(_run(job, stop))
    except AlreadyRunning:
        sys.exit(SKIPPED)
    except Stopped as reason:
        logger.debug("no garbage collection: %r", reason)
    except (OSError, sqlite3.Error) as error:
        logger.error("the garbage collection failed, the next one does the rest: %s", error)


if __name__ == "__main__":
    main()
