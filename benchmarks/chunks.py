"""One upload in many chunks: do the last hundred cost as much as the first hundred?

Each chunk is a PATCH. A server that reads the stored bytes again to continue the digest pays more
for each chunk than for the one before.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

from benchmarks.client import Connection, request_head
from benchmarks.errors import expect
from benchmarks.ground import level
from benchmarks.metering import Meter, Used
from benchmarks.pushes import BINARY, begin, finish
from benchmarks.stage import GB, MB, Stage

REPOSITORY = "library/chunks"
LONGEST_SECONDS = 300.0

Send = Callable[[bytes, bytes], str]
"""Send the head and the body of a PATCH; return the location of the next one."""


def one_connection(stage: Stage) -> tuple[float, float, float, float]:
    """Send every chunk over the same connection.

    Returns MB/s, server CPU seconds per GB, and the CPU and time of the last chunks as multiples of
    those of the first.
    """
    with Connection(stage.server.port) as connection:
        return _push(stage, partial(_send, connection))


def new_connections(stage: Stage) -> tuple[float, float, float, float]:
    """Send every chunk over a new connection, so that any worker may get it.

    Returns the same as `one_connection`.
    """

    def send(head: bytes, body: bytes) -> str:
        with Connection(stage.server.port) as connection:
            return _send(connection, head, body)

    before = stage.server.cpu_by_process()
    values = _push(stage, send)
    after = stage.server.cpu_by_process()
    busiest = max(after[pid] - before.get(pid, 0.0) for pid in after)
    total = sum(after.values()) - sum(before.values())
    stage.notes.append(f"the busiest process of the server took {busiest / total:.0%} of its CPU.")
    return values


def _push(stage: Stage, send: Send) -> tuple[float, float, float, float]:
    content, window = stage.material.in_chunks, stage.plan.chunk_window
    with Connection(stage.server.port) as connection:
        location = begin(connection, REPOSITORY)
    spans: list[Used] = []
    ends = (0, window, stage.plan.chunks - window, stage.plan.chunks)
    for first, last in pairwise(ends):
        used, location = _send_some(stage, send, location, range(first, last))
        spans.append(used)
    with Connection(stage.server.port) as connection:
        finish(connection, location, content.blob.digest)
    server, seconds = sum(span.server for span in spans), sum(span.seconds for span in spans)
    client = sum(span.client for span in spans)
    stage.client_shares.append(Used(seconds, server, client).client_share)
    growth = spans[-1].server / spans[0].server, spans[-1].seconds / spans[0].seconds
    size = content.blob.size
    return size / MB / seconds, server / (size / GB), *growth


def _send_some(stage: Stage, send: Send, location: str, numbers: range) -> tuple[Used, str]:
    """Send some chunks; return the cost and the location of the next one."""
    piece = stage.material.in_chunks.piece
    level(stage.folder, stage.plan.chunk_window * len(piece))
    meter, deadline = Meter.start(stage.server.pid), time.perf_counter() + LONGEST_SECONDS
    for number in numbers:
        location = send(_head(location, number * len(piece), len(piece)), piece)
        in_time = time.perf_counter() < deadline
        expect(in_time, f"only {number + 1} chunks in {LONGEST_SECONDS:.0f} s")
    return meter.stop(), location


def _head(location: str, begin: int, size: int) -> bytes:
    span = f"{begin}-{begin + size - 1}"
    headers = {"Content-Type": BINARY, "Content-Length": str(size), "Content-Range": span}
    return request_head("PATCH", location, headers)


def _send(connection: Connection, head: bytes, body: bytes) -> str:
    connection.send(head)
    connection.send(body)
    answer = connection.answer()
    expect(answer.status == 202, f"PATCH of an upload answered {answer.status}")
    return answer.location()
