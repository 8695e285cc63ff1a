"""A large blob pushed as clients do: POST, PATCH with the bytes, PUT with the digest."""

import os
import time

from benchmarks.checks import expect_content, fetch_ok
from benchmarks.client import Connection, request_head
from benchmarks.errors import expect
from benchmarks.material import Body
from benchmarks.stage import GB, MB, Stage

REPOSITORY = "library/pushed"
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
BINARY = "application/octet-stream"


def with_length(stage: Stage) -> tuple[float, float]:
    """Push with `Content-Length`; return MB/s and server CPU seconds per GB."""
    return _push(stage, is_chunked=False)


def chunked(stage: Stage) -> tuple[float, float]:
    """Push in 32 KiB chunks as Docker does; return MB/s and server CPU seconds per GB."""
    return _push(stage, is_chunked=True)


def _push(stage: Stage, *, is_chunked: bool) -> tuple[float, float]:
    material, size = stage.material, stage.material.pushed.blob.size
    for body in (material.warmup, material.pushed):
        if is_chunked:
            material.chunked(body)
    push_blob(stage, material.warmup, is_chunked=is_chunked)
    os.sync()  # neither server should pay for what was written before
    before, start = stage.server.cpu_seconds(), time.perf_counter()
    push_blob(stage, material.pushed, is_chunked=is_chunked)
    seconds = time.perf_counter() - start
    used = stage.server.cpu_seconds() - before
    _check_stored(stage, material.pushed)
    return size / MB / seconds, used / (size / GB)


def push_blob(stage: Stage, body: Body, *, is_chunked: bool) -> None:
    """Push one blob into `REPOSITORY` and return when the server has committed it."""
    length = {"Transfer-Encoding": "chunked"}
    if not is_chunked:
        length = {"Content-Length": str(body.blob.size)}
    source = stage.material.chunked(body) if is_chunked else body.file
    with Connection(stage.server.port) as connection:
        begun = connection.exchange(request_head("POST", UPLOADS, {"Content-Length": "0"}))
        expect(begun.status == 202, f"POST of an upload answered {begun.status}")
        patch = request_head("PATCH", begun.location(), {"Content-Type": BINARY, **length})
        sent = connection.exchange(patch, source)
        expect(sent.status == 202, f"PATCH of an upload answered {sent.status}")
        target = with_digest(sent.location(), body.blob.digest)
        done = connection.exchange(request_head("PUT", target, {"Content-Length": "0"}))
        expect(done.status == 201, f"PUT of an upload answered {done.status}")


def with_digest(location: str, digest: str) -> str:
    """Add the `digest` parameter to the `Location` of an upload, which may have a query."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def _check_stored(stage: Stage, body: Body) -> None:
    target = f"/v2/{REPOSITORY}/blobs/{body.blob.digest}"
    answer = fetch_ok(stage.server.port, target, {}, "HEAD")
    expect_content(answer, body.blob.digest, body.blob.size)
