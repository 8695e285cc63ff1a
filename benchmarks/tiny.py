"""Pushes tiny images sequentially: the cost is in requests, links and fsyncs, not in bytes.

The requests are those of Docker Engine: HEAD (answered 404), POST, PATCH and PUT for each of two
blobs, then the manifest by tag. Every client keeps its connection and has its own repository.
"""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier, Event

from benchmarks.checks import fetch_ok
from benchmarks.client import Connection, request_head, sized
from benchmarks.errors import expect
from benchmarks.layout import MANIFEST_TYPE, Descriptor, describe, image_manifest
from benchmarks.metering import Meter
from benchmarks.pushes import BINARY, with_digest
from benchmarks.stage import Stage

LAYER_BYTES = 4096
MILLI = 1e3


class Window:
    """The measured time; it starts when every client has warmed up."""

    def __init__(self, stage: Stage) -> None:
        self._pid = stage.server.pid
        self.meter = Meter.start(self._pid)

    def open(self) -> None:
        """Start the measurement."""
        self.meter = Meter.start(self._pid)


@dataclass(frozen=True, slots=True)
class Run:
    """The number of a client's measured images, and its end on the performance counter."""

    images: int
    end: float


def one_client(stage: Stage) -> tuple[float, float]:
    """Push from one client; return images/s and server CPU milliseconds per image."""
    return _push(stage, 1)


def many_clients(stage: Stage) -> tuple[float, float]:
    """Push from several clients; return images/s and server CPU milliseconds per image."""
    return _push(stage, stage.plan.clients)


def _push(stage: Stage, clients: int) -> tuple[float, float]:
    os.sync()
    window, stop = Window(stage), Event()
    warm = Barrier(clients, action=window.open)
    with ThreadPoolExecutor(clients) as pool:
        try:
            names = [f"tiny/{clients}-{number}" for number in range(clients)]
            running = [pool.submit(_client, stage, name, warm, stop) for name in names]
            runs = [client.result() for client in running]
            used = window.meter.stop()
        finally:
            stop.set()
            warm.abort()
    images = sum(run.images for run in runs)
    stage.client_shares.append(used.client_share)
    seconds = max(run.end for run in runs) - window.meter.begin
    return images / seconds, used.server / images * MILLI


def _client(stage: Stage, repository: str, warm: Barrier, stop: Event) -> Run:
    """Push the warm-up images, wait for the other clients, then push the measured images."""
    with Connection(stage.server.port) as connection:
        try:
            for number in range(stage.plan.warmup_images):
                push_image(connection, repository, f"warm-up-{number}")
            warm.wait()
        except BaseException:
            warm.abort()  # the other clients must not wait for one that failed
            raise
        return _push_until_done(stage, connection, repository, stop)


def _push_until_done(stage: Stage, connection: Connection, repository: str, stop: Event) -> Run:
    """Push images until the time or the count is reached."""
    deadline, done = time.perf_counter() + stage.plan.seconds, 0
    while done < stage.plan.images_each and time.perf_counter() < deadline and not stop.is_set():
        manifest = push_image(connection, repository, f"v{done}")
        done += 1
    end = time.perf_counter()
    expect(done > 0, "no image was pushed in time")
    _check_tag(stage, repository, f"v{done - 1}", manifest)
    return Run(done, end)


def push_image(connection: Connection, repository: str, tag: str) -> Descriptor:
    """Push a new, unique image and return its manifest's descriptor."""
    layer, config = os.urandom(LAYER_BYTES), _config(repository, tag)
    layers = [_push_blob(connection, repository, layer)]
    raw = image_manifest(_push_blob(connection, repository, config), layers)
    manifest = describe(raw)
    put = sized("PUT", f"/v2/{repository}/manifests/{tag}", raw, MANIFEST_TYPE)
    _expect_created(connection, put, manifest.digest)
    return manifest


def _push_blob(connection: Connection, repository: str, content: bytes) -> Descriptor:
    blob = describe(content)
    head = request_head("HEAD", f"/v2/{repository}/blobs/{blob.digest}")
    known = connection.exchange(head).status
    expect(known == 404, f"HEAD of a blob never pushed answered {known}")
    post = request_head("POST", f"/v2/{repository}/blobs/uploads/", {"Content-Length": "0"})
    begun = connection.exchange(post)
    expect(begun.status == 202, f"POST of an upload answered {begun.status}")
    sent = connection.exchange(sized("PATCH", begun.location(), content, BINARY))
    expect(sent.status == 202, f"PATCH of an upload answered {sent.status}")
    put = request_head("PUT", with_digest(sent.location(), blob.digest), {"Content-Length": "0"})
    _expect_created(connection, put, blob.digest)
    return blob


def _expect_created(connection: Connection, request: bytes, digest: str) -> None:
    answer = connection.exchange(request)
    expect(answer.status == 201, f"a PUT answered {answer.status}")
    same = answer.says(b"docker-content-digest", digest.encode())
    expect(same, "a PUT returned a wrong Docker-Content-Digest")


def _check_tag(stage: Stage, repository: str, tag: str, manifest: Descriptor) -> None:
    target, headers = f"/v2/{repository}/manifests/{tag}", {"Accept": MANIFEST_TYPE}
    answer = fetch_ok(stage.server.port, target, headers, "HEAD")
    same = answer.headers.get("docker-content-digest") == manifest.digest
    expect(same, "a tag does not point to the manifest pushed last")


def _config(repository: str, tag: str) -> bytes:
    labels = {"config": {"Labels": {"name": f"{repository}:{tag}", "salt": os.urandom(8).hex()}}}
    return json.dumps({"architecture": "amd64", "os": "linux", **labels}).encode()
