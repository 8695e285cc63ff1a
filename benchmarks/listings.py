"""Listings: the tags of a large repository, the repositories of a large registry."""

import json
from collections.abc import Sequence

from benchmarks.checks import Checked, fetch_ok
from benchmarks.errors import expect
from benchmarks.seeds import TAGGED, repository_names, tag_names
from benchmarks.small_requests import rate_and_cpu
from benchmarks.stage import Stage
from benchmarks.wrk import GetLoad


def all_tags(stage: Stage) -> tuple[float, float]:
    """List every tag in one response."""
    answer = fetch_ok(stage.server.port, f"/v2/{TAGGED}/tags/list")
    listed = _names(answer, "tags")
    # The spec requires sorted tags; docker-registry 2.8 does not sort, and that is not a failure.
    expect(sorted(listed) == tag_names(stage.plan), "the tags are not those that were stored")
    return _repeat(stage, f"/v2/{TAGGED}/tags/list", answer)


def first_tags(stage: Stage) -> tuple[float, float]:
    """List the first page of tags."""
    return _tags_page(stage, 0)


def tags_page(stage: Stage) -> tuple[float, float]:
    """List one page of tags from the middle."""
    return _tags_page(stage, stage.plan.tags // 2)


def _tags_page(stage: Stage, begin: int) -> tuple[float, float]:
    names, size = tag_names(stage.plan), stage.plan.page
    target = _page(f"/v2/{TAGGED}/tags/list", size, names, begin)
    answer = fetch_ok(stage.server.port, target)
    listed = _names(answer, "tags")
    if len(listed) == len(names):
        stage.notes.append("does not page tags and returns all of them.")
        expect(sorted(listed) == names, "the tags are not those that were stored")
    else:
        expect(listed == names[begin : begin + size], "the page is not the requested one")
        expect("link" in answer.headers, "the page has no Link to the next one")
    return _repeat(stage, target, answer)


def first_page(stage: Stage) -> tuple[float, float]:
    """List the first page of the catalog."""
    return _repeat(stage, *_catalog(stage, 0))


def middle_page(stage: Stage) -> tuple[float, float]:
    """List a page from the middle of the catalog."""
    return _repeat(stage, *_catalog(stage, stage.plan.repositories // 2))


def first_latency(stage: Stage) -> tuple[float]:
    """Return the median milliseconds of the first page, requested sequentially."""
    return _latency(stage, *_catalog(stage, 0))


def middle_latency(stage: Stage) -> tuple[float]:
    """Return the median milliseconds of a page from the middle, requested sequentially."""
    return _latency(stage, *_catalog(stage, stage.plan.repositories // 2))


def _catalog(stage: Stage, begin: int) -> tuple[str, Checked]:
    """Check a page of the catalog; return its target and the response."""
    names, size = repository_names(stage.plan), stage.plan.page
    target = _page("/v2/_catalog", size, names, begin)
    answer = fetch_ok(stage.server.port, target)
    listed = _names(answer, "repositories")
    expect(listed == names[begin : begin + size], "the page is not the requested one")
    expect("link" in answer.headers, "the page has no Link to the next one")
    return target, answer


def _page(target: str, size: int, names: Sequence[str], begin: int) -> str:
    return f"{target}?n={size}" + (f"&last={names[begin - 1]}" if begin else "")


def _names(answer: Checked, key: str) -> Sequence[str]:
    names: Sequence[str] = json.loads(answer.body)[key]
    return names


def _repeat(stage: Stage, target: str, answer: Checked) -> tuple[float, float]:
    return rate_and_cpu(stage, _load(stage, target, answer, stage.plan.list_connections))


def _latency(stage: Stage, target: str, answer: Checked) -> tuple[float]:
    load = _load(stage, target, answer, connections=1)
    load.run(stage.plan.warmup_seconds)
    return (load.run(stage.plan.seconds).median_seconds * 1e3,)


def _load(stage: Stage, target: str, answer: Checked, connections: int) -> GetLoad:
    length = len(answer.body)
    return GetLoad(stage.server.port, target, length, connections, {}, stage.script)
