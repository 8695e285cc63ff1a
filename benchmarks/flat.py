"""Memory under many large concurrent pushes and pulls.

Each client pushes a blob over one connection and pulls another over a second one, alternating MiB
by MiB, so that all transfers run during the whole measurement. The client holds one piece in
memory, whatever the size of the blobs.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

from benchmarks.client import Connection, request_head
from benchmarks.errors import expect
from benchmarks.layout import Tree
from benchmarks.material import LAST_CHUNK, PIECE_BYTES, Material, framed
from benchmarks.proc import Held
from benchmarks.processes import Server
from benchmarks.pushes import BINARY, begin, finish
from benchmarks.stage import MB, Plan, Stage

IMAGE = "library/flat"
SAMPLE_SECONDS = 0.1
PATIENCE_SECONDS = 600.0
"""A PUT waits for the disk to take what every client has sent."""
ROOM = 0.8


def fitted(plan: Plan, folder: Path) -> Plan:
    """Return a plan whose pushes, pulled blob and its file fit into `folder` with a margin."""
    most = int(shutil.disk_usage(folder).free * ROOM) // (plan.flat_clients + 2)
    return replace(plan, flat_bytes=max(PIECE_BYTES, min(plan.flat_bytes, most)))


def prepare(tree: Tree, material: Material, _plan: Plan) -> None:
    """Write the blob that is pulled."""
    body = material.flat_file
    tree.adopt_blob(body.file, body.blob)
    tree.link_layer(IMAGE, body.blob)


def growth(stage: Stage) -> tuple[float, float]:
    """Return the largest growth of a worker above idle in MB: resident, and anonymous memory."""
    idle, peak = stage.server.held(), Peak()
    clients, stop = stage.plan.flat_clients, Event()
    with ThreadPoolExecutor(clients) as pool, sampled(stage.server, peak):
        try:
            running = [pool.submit(_client, stage, number, stop) for number in range(clients)]
            for client in running:
                client.result()
        finally:
            stop.set()
    return peak.above(idle)


class Peak:
    """The highest memory of each process in any sample."""

    def __init__(self) -> None:
        self._most: dict[int, Held] = {}

    def add(self, sample: dict[int, Held]) -> None:
        """Add one sample of every process."""
        for pid, held in sample.items():
            before = self._most.get(pid, held)
            self._most[pid] = Held(
                max(before.resident, held.resident), max(before.anonymous, held.anonymous)
            )

    def above(self, idle: dict[int, Held]) -> tuple[float, float]:
        """Return the largest growth of a process in MB: resident, and anonymous memory."""
        nothing = Held(0, 0)
        pairs = [(most, idle.get(pid, nothing)) for pid, most in self._most.items()]
        resident = max(most.resident - before.resident for most, before in pairs)
        anonymous = max(most.anonymous - before.anonymous for most, before in pairs)
        return resident / MB, anonymous / MB


@contextmanager
def sampled(server: Server, peak: Peak) -> Iterator[None]:
    """Sample the memory of a server ten times a second during the block."""
    ended = Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            peak.add(server.held())

    peak.add(server.held())
    thread = Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _client(stage: Stage, number: int, stop: Event) -> None:
    """Push and pull; every other client pushes chunked."""
    port, content = stage.server.port, stage.material.flat
    with Connection(port, PATIENCE_SECONDS) as up, Connection(port, PATIENCE_SECONDS) as down:
        location, left = begin(up, f"flat/{number}"), _begin_pull(stage, down)
        is_chunked = number % 2 == 0
        up.send(_patch(location, None if is_chunked else content.blob.size))
        piece = framed(content.piece) if is_chunked else content.piece
        for _ in range(content.count):
            up.send(piece)
            left -= _discard(down, min(left, PIECE_BYTES))
            expect(not stop.is_set(), "another client failed")
        if is_chunked:
            up.send(LAST_CHUNK)
        sent = up.answer()
        expect(sent.status == 202, f"PATCH of an upload answered {sent.status}")
        expect(left == 0, f"{left} bytes of a blob did not arrive")
        finish(up, sent.location(), content.blob.digest)


def _begin_pull(stage: Stage, connection: Connection) -> int:
    blob = stage.material.flat.blob
    request = request_head("GET", f"/v2/{IMAGE}/blobs/{blob.digest}")
    answer, left = connection.begin(request)
    expect(answer.status == 200, f"a blob was answered with {answer.status}")
    size = left + len(answer.body)
    expect(size == blob.size, f"a blob of {blob.size} bytes arrived as {size}")
    return left


def _patch(location: str, size: int | None) -> bytes:
    framing = {"Transfer-Encoding": "chunked"} if size is None else {"Content-Length": str(size)}
    return request_head("PATCH", location, {"Content-Type": BINARY, **framing})


def _discard(connection: Connection, count: int) -> int:
    left = count
    while left:
        left -= connection.discard(left)
    return count
