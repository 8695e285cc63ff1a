"""How cost grows with the size of a blob, and the numbers of tags, repositories and connections.

Each point is a scenario with its own plan.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks import downloads, listings, pushes, seeds, small_requests
from benchmarks.measures import pair, requests
from benchmarks.stage import MB, Measure, Plan, Scenario, Stage

NAME = "growth"
PREFIX = f"{NAME}."
TAGS = (100, 1_000, 10_000)
REPOSITORIES = (500, 5_000, 20_000)
CONNECTIONS = (1, 16, 64, 256)


@dataclass(frozen=True, slots=True)
class Size:
    """A blob's size in MB, the number of its downloads, and the number of pushes."""

    megabytes: int
    downloads: int
    pushes: int


SIZES = (Size(1, 1000, 40), Size(10, 200, 20), Size(100, 30, 4), Size(1000, 4, 1))


def scenarios(plan: Plan) -> list[Scenario]:
    """Return as many points of each series as the plan wants, the smallest first."""
    plan = replace(plan, seconds=min(plan.seconds, 2))
    count = plan.growth_points
    return [
        *(point for size in SIZES[:count] for point in _sized(plan, size)),
        *(_tagged(replace(plan, tags=tags)) for tags in TAGS[:count]),
        *(_listed(replace(plan, repositories=many)) for many in REPOSITORIES[:count]),
        *(_connected(replace(plan, connections=many)) for many in CONNECTIONS[:count]),
    ]


def _sized(plan: Plan, size: Size) -> list[Scenario]:
    count = size.megabytes * MB
    get = replace(plan, served_bytes=count, single_downloads=size.downloads)
    push = replace(plan, pushed_bytes=count, pushes=size.pushes)
    title = f"{size.megabytes:,} MB"
    return [
        _point(get, seeds.image, [_bytes("get", f"GET blob {title}", downloads.one_stream, size)]),
        _point(push, seeds.nothing, [_bytes("push", f"push {title}", pushes.chunked, size)]),
    ]


def _bytes(verb: str, title: str, take: Callable[[Stage], Sequence[float]], size: Size) -> Measure:
    return pair(f"{PREFIX}{verb}.{size.megabytes}", title, "MB/s", "s/GB", take)


def _tagged(plan: Plan) -> Scenario:
    key, title = f"{PREFIX}tags.{plan.tags}", f"{plan.tags:,} tags"
    measures = [
        requests(f"{key}.all", f"list all {title}", listings.all_tags),
        requests(f"{key}.page", f"list half a page from the middle of {title}", _half_page),
    ]
    return _point(plan, seeds.tags, measures, keeps_root=True)


def _half_page(stage: Stage) -> tuple[float, float]:
    """List one tag fewer than the smallest repository has after its middle."""
    return listings.tags_page(replace(stage, plan=replace(stage.plan, page=TAGS[0] // 2 - 1)))


def _listed(plan: Plan) -> Scenario:
    key, title = f"{PREFIX}catalog.{plan.repositories}", f"{plan.repositories:,} repositories"
    measures = [
        requests(f"{key}.first", f"catalog page, {title}, start", listings.first_page),
        requests(f"{key}.middle", f"catalog page, {title}, middle", listings.middle_page),
    ]
    return _point(plan, seeds.repositories, measures, keeps_root=True)


def _connected(plan: Plan) -> Scenario:
    title = f"GET manifest, {plan.connections} connection{'s' if plan.connections > 1 else ''}"
    key = f"{PREFIX}manifest.{plan.connections}"
    return _point(plan, seeds.image, [requests(key, title, small_requests.get_manifest)])


def _point(
    plan: Plan, prepare: seeds.Prepare, measures: Sequence[Measure], *, keeps_root: bool = False
) -> Scenario:
    return Scenario(NAME, prepare, measures, plan, keeps_root=keeps_root)
