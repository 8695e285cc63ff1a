"""Blob downloads: their rate, and the server's CPU per GB."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from benchmarks.checks import expect_content, fetch_ok
from benchmarks.client import Connection, request_head
from benchmarks.errors import expect
from benchmarks.metering import Meter
from benchmarks.seeds import IMAGE
from benchmarks.stage import GB, MB, Stage

LONGEST_SECONDS = 20.0


def one_stream(stage: Stage) -> tuple[float, float]:
    """Download one after another; return MB/s and server CPU seconds per GB."""
    return _download(stage, 1, stage.plan.single_downloads)


def many_streams(stage: Stage) -> tuple[float, float]:
    """Download over concurrent connections; return MB/s and server CPU seconds per GB."""
    return _download(stage, stage.plan.streams, stage.plan.stream_downloads)


def _download(stage: Stage, streams: int, each: int) -> tuple[float, float]:
    _check_content(stage)
    stop = Event()
    with ThreadPoolExecutor(streams) as pool:
        try:
            meter = Meter.start(stage.server.pid)
            running = [pool.submit(_repeat, stage, each, stop) for _ in range(streams)]
            received = sum(stream.result() for stream in running)
            used = meter.stop()
        finally:
            stop.set()
    stage.client_shares.append(used.client_share)
    return received / MB / used.seconds, used.server / (received / GB)


def _repeat(stage: Stage, count: int, stop: Event) -> int:
    """Download `count` times, or until time is up; return the bytes received."""
    blob, received = stage.material.served.blob, 0
    request = request_head("GET", _target(stage))
    deadline = time.perf_counter() + LONGEST_SECONDS
    with Connection(stage.server.port) as connection:
        for _ in range(count):
            if stop.is_set() or time.perf_counter() > deadline:
                break
            answer, size = connection.download(request)
            expect(answer.status == 200, f"a blob was answered with {answer.status}")
            expect(size == blob.size, f"a blob of {blob.size} bytes arrived as {size}")
            same = answer.says(b"docker-content-digest", blob.digest.encode())
            expect(same, "a blob has a wrong Docker-Content-Digest")
            received += size
    return received


def _check_content(stage: Stage) -> None:
    """Download once and check the digest; this is also the warm-up."""
    blob = stage.material.served.blob
    answer = fetch_ok(stage.server.port, _target(stage))
    expect_content(answer, blob.digest, blob.size)
    actual = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
    expect(actual == blob.digest, "the bytes of a blob do not match its digest")


def _target(stage: Stage) -> str:
    return f"/v2/{IMAGE}/blobs/{stage.material.served.blob.digest}"
