"""Requests with small responses: GET `/v2/`, a manifest, HEAD of a blob."""

from collections.abc import Callable, Mapping

from benchmarks.checks import expect_content, fetch_ok
from benchmarks.errors import expect
from benchmarks.headload import HeadLoad
from benchmarks.layout import MANIFEST_TYPE, describe
from benchmarks.load import Load
from benchmarks.metering import Meter
from benchmarks.seeds import IMAGE, TAG, manifest_bytes
from benchmarks.stage import Stage
from benchmarks.wrk import GetLoad

ACCEPT: Mapping[str, str] = {"Accept": MANIFEST_TYPE}
MANIFEST = f"/v2/{IMAGE}/manifests/{TAG}"
MICRO = 1e6


def rate_and_cpu(stage: Stage, load: GetLoad | HeadLoad) -> tuple[float, float]:
    """Return responses per second, and the server's CPU in microseconds per response."""
    load.run(stage.plan.warmup_seconds)
    meter = Meter.start(stage.server.pid)
    done: Load = load.run(stage.plan.seconds)
    used = meter.stop()
    stage.client_shares.append(used.client_share)
    return done.rate, used.server / done.requests * MICRO


def get_manifest(stage: Stage) -> tuple[float, float]:
    """Repeat GET of a manifest by tag."""
    return get_manifest_as(lambda _: {}, stage)


def get_manifest_as(
    credentials: Callable[[Stage], Mapping[str, str]], stage: Stage
) -> tuple[float, float]:
    """Repeat GET of a manifest by tag with credentials."""
    headers = {**ACCEPT, **credentials(stage)}
    raw = manifest_bytes(stage.material)
    answer = fetch_ok(stage.server.port, MANIFEST, headers)
    expect_content(answer, describe(raw).digest, len(raw))
    expect(answer.body == raw, "the manifest is not the bytes that were stored")
    return rate_and_cpu(stage, _get(stage, MANIFEST, len(raw), headers))


def head_manifest(stage: Stage) -> tuple[float, float]:
    """Repeat HEAD of a manifest by tag."""
    raw = manifest_bytes(stage.material)
    answer = fetch_ok(stage.server.port, MANIFEST, ACCEPT, "HEAD")
    expect_content(answer, describe(raw).digest, len(raw))
    return rate_and_cpu(stage, _head(stage, MANIFEST, ACCEPT))


def get_base(stage: Stage) -> tuple[float, float]:
    """Repeat GET of `/v2/`."""
    answer = fetch_ok(stage.server.port, "/v2/")
    return rate_and_cpu(stage, _get(stage, "/v2/", len(answer.body), {}))


def head_blob(stage: Stage) -> tuple[float, float]:
    """Repeat HEAD of a blob."""
    blob = stage.material.served.blob
    target = f"/v2/{IMAGE}/blobs/{blob.digest}"
    expect_content(fetch_ok(stage.server.port, target, {}, "HEAD"), blob.digest, blob.size)
    return rate_and_cpu(stage, _head(stage, target, {}))


def _get(stage: Stage, target: str, length: int, headers: Mapping[str, str]) -> GetLoad:
    connections = stage.plan.connections
    return GetLoad(stage.server.port, target, length, connections, headers, stage.script)


def _head(stage: Stage, target: str, headers: Mapping[str, str]) -> HeadLoad:
    return HeadLoad(stage.server.port, target, stage.plan.connections, headers)
