"""Pushes large blobs as clients do: POST, PATCH with the bytes, PUT with the digest."""

from benchmarks.checks import expect_content, fetch_ok
from benchmarks.client import Connection, request_head
from benchmarks.errors import expect
from benchmarks.ground import level
from benchmarks.material import Body
from benchmarks.metering import Meter
from benchmarks.stage import GB, MB, Stage

REPOSITORY = "library/pushed"
BINARY = "application/octet-stream"


def with_length(stage: Stage) -> tuple[float, float]:
    """Push with `Content-Length`; return MB/s and server CPU seconds per GB."""
    return _push(stage, is_chunked=False)


def chunked(stage: Stage) -> tuple[float, float]:
    """Push in 32 KiB chunks as Docker does; return MB/s and server CPU seconds per GB."""
    return _push(stage, is_chunked=True)


def _push(stage: Stage, *, is_chunked: bool) -> tuple[float, float]:
    material = stage.material
    bodies = [material.pushed(number) for number in range(stage.plan.pushes)]
    if is_chunked:
        for body in (material.warmup, *bodies):
            material.chunked(body)
    push_blob(stage, material.warmup, is_chunked=is_chunked)
    size = sum(body.blob.size for body in bodies)
    level(stage.folder, size)  # earlier writes must not slow down either server
    meter = Meter.start(stage.server.pid)
    for body in bodies:
        push_blob(stage, body, is_chunked=is_chunked)
    used = meter.stop()
    stage.client_shares.append(used.client_share)
    _check_stored(stage, bodies[-1])
    return size / MB / used.seconds, used.server / (size / GB)


def push_blob(stage: Stage, body: Body, *, is_chunked: bool) -> None:
    """Push one blob into `REPOSITORY` and return when the server has committed it."""
    length = {"Transfer-Encoding": "chunked"}
    if not is_chunked:
        length = {"Content-Length": str(body.blob.size)}
    source = stage.material.chunked(body) if is_chunked else body.file
    with Connection(stage.server.port) as connection:
        location = begin(connection, REPOSITORY)
        patch = request_head("PATCH", location, {"Content-Type": BINARY, **length})
        sent = connection.exchange(patch, source)
        expect(sent.status == 202, f"PATCH of an upload answered {sent.status}")
        finish(connection, sent.location(), body.blob.digest)


def begin(connection: Connection, repository: str) -> str:
    """Begin an upload and return its `Location`."""
    target = f"/v2/{repository}/blobs/uploads/"
    begun = connection.exchange(request_head("POST", target, {"Content-Length": "0"}))
    expect(begun.status == 202, f"POST of an upload answered {begun.status}")
    return begun.location()


def finish(connection: Connection, location: str, digest: str) -> None:
    """Commit an upload under its digest."""
    target = with_digest(location, digest)
    done = connection.exchange(request_head("PUT", target, {"Content-Length": "0"}))
    expect(done.status == 201, f"PUT of an upload answered {done.status}")
    same = done.says(b"docker-content-digest", digest.encode())
    expect(same, "a PUT returned a wrong Docker-Content-Digest")


def with_digest(location: str, digest: str) -> str:
    """Add the `digest` parameter to the `Location` of an upload, which may have a query."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def _check_stored(stage: Stage, body: Body) -> None:
    target = f"/v2/{REPOSITORY}/blobs/{body.blob.digest}"
    answer = fetch_ok(stage.server.port, target, {}, "HEAD")
    expect_content(answer, body.blob.digest, body.blob.size)
