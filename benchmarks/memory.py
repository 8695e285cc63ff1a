"""Resident memory: of the largest process (a worker), and of the whole server."""

from benchmarks.downloads import many_streams
from benchmarks.pushes import push_blob
from benchmarks.small_requests import get_base, get_manifest
from benchmarks.stage import MB, Stage


def idle(stage: Stage) -> tuple[float, float]:
    """Return MB of one worker and of the whole server after only GET `/v2/`."""
    processes = stage.server.memory()
    return max(process.resident for process in processes) / MB, _whole(stage)


def loaded(stage: Stage) -> tuple[float, float]:
    """Return MB of one worker at its peak, and of the whole server directly after the load.

    The load: manifests over 16 connections, downloads over 8, and a chunked push.
    """
    get_base(stage)
    get_manifest(stage)
    many_streams(stage)
    push_blob(stage, stage.material.pushed(), is_chunked=True)
    return max(process.peak for process in stage.server.memory()) / MB, _whole(stage)


def start(stage: Stage) -> tuple[float]:
    """Return milliseconds from the start of the process to its first right response."""
    return (stage.server.start_seconds * 1e3,)


def _whole(stage: Stage) -> float:
    return sum(process.proportional for process in stage.server.memory()) / MB
