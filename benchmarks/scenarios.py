"""Everything that is measured, in the order of the table."""

from collections.abc import Callable, Sequence

from benchmarks import downloads, listings, memory, pushes, seeds, small_requests, tiny
from benchmarks.figures import Better, Figure
from benchmarks.stage import MB, Measure, Plan, Scenario, Stage


def scenarios(plan: Plan) -> tuple[Scenario, ...]:
    """Return every scenario; several may share a name, by which they are selected together."""
    return (
        Scenario("manifests", seeds.image, _manifests()),
        Scenario("base", seeds.image, [_requests("base", "GET /v2/", small_requests.get_base)]),
        Scenario("blobs", seeds.image, _blobs(plan)),
        Scenario("push", seeds.nothing, [_push(plan, "Content-Length", pushes.with_length)]),
        Scenario("push", seeds.nothing, [_push(plan, "chunked", pushes.chunked)]),
        Scenario("tiny", seeds.nothing, [_images(1, tiny.one_client)]),
        Scenario("tiny", seeds.nothing, [_images(plan.clients, tiny.many_clients)]),
        Scenario("tags", seeds.tags, _tags(plan), keeps_root=True),
        Scenario("catalog", seeds.repositories, _catalog(plan), keeps_root=True),
        Scenario("memory", seeds.image, _memory()),
        Scenario("start", seeds.image, [_start()]),
    )


def names() -> list[str]:
    """Return what can be selected, in order."""
    return list(dict.fromkeys(scenario.name for scenario in scenarios(Plan())))


def _pair(
    key: str, title: str, rate: str, cost: str, take: Callable[[Stage], Sequence[float]]
) -> Measure:
    """Return a measure of a rate, and of the CPU that it costs the server."""
    figures = (
        Figure(f"{key}.rate", title, rate, Better.MORE),
        Figure(f"{key}.cpu", f"{title}, server CPU", cost, Better.LESS),
    )
    return Measure(figures, take)


def _requests(key: str, title: str, take: Callable[[Stage], Sequence[float]]) -> Measure:
    return _pair(key, title, "requests/s", "us/request", take)


def _manifests() -> list[Measure]:
    return [
        _requests("manifest.get", "GET manifest by tag", small_requests.get_manifest),
        _requests("manifest.head", "HEAD manifest by tag", small_requests.head_manifest),
    ]


def _blobs(plan: Plan) -> list[Measure]:
    title = f"GET blob {plan.served_bytes // MB} MB"
    many = f"{title}, {plan.streams} streams"
    return [
        _requests("blob.head", "HEAD blob", small_requests.head_blob),
        _pair("blob.get.1", f"{title}, 1 stream", "MB/s", "s/GB", downloads.one_stream),
        _pair(f"blob.get.{plan.streams}", many, "MB/s", "s/GB", downloads.many_streams),
    ]


def _push(plan: Plan, form: str, take: Callable[[Stage], Sequence[float]]) -> Measure:
    title = f"push {plan.pushed_bytes // MB} MB, {form}"
    return _pair(f"push.{form.lower()}", title, "MB/s", "s/GB", take)


def _images(clients: int, take: Callable[[Stage], Sequence[float]]) -> Measure:
    title = f"push tiny images, {clients} client{'s' if clients > 1 else ''}"
    return _pair(f"tiny.{clients}", title, "images/s", "ms/image", take)


def _tags(plan: Plan) -> list[Measure]:
    page = f"{plan.page} of {plan.tags:,} tags, from the middle"
    return [
        _requests("tags.all", f"list all {plan.tags:,} tags", listings.all_tags),
        _requests("tags.page", f"list {page}", listings.tags_page),
    ]


def _catalog(plan: Plan) -> list[Measure]:
    page = f"catalog, {plan.page} of {plan.repositories:,}"
    return [
        _requests("catalog.first", f"{page}, from the start", listings.first_page),
        _requests("catalog.middle", f"{page}, from the middle", listings.middle_page),
    ]


def _memory() -> list[Measure]:
    def figures(state: str) -> list[Figure]:
        return [
            Figure(f"memory.worker.{state}", f"memory of a worker, {state}", "MB", Better.LESS),
            Figure(f"memory.all.{state}", f"memory of the server, {state}", "MB", Better.LESS),
        ]

    return [
        Measure(figures("idle"), memory.idle),
        Measure(figures("loaded"), memory.loaded),
    ]


def _start() -> Measure:
    figure = Figure("start", "start to first answer", "ms", Better.LESS)
    return Measure([figure], memory.start)
