"""All measurements, in the order of the table."""

from collections.abc import Sequence

from benchmarks import (
    chunks,
    downloads,
    flat,
    growth,
    listings,
    memory,
    pushes,
    seeds,
    small_requests,
    tiny,
)
from benchmarks.figures import Better, Figure
from benchmarks.measures import Take, alone, pair, requests
from benchmarks.stage import MB, Measure, Plan, Scenario

FLAT = "flat"


def scenarios(plan: Plan) -> tuple[Scenario, ...]:
    """Return every scenario; scenarios with the same name are selected together."""
    base = requests("base", "GET /v2/", small_requests.get_base)
    return (
        Scenario("manifests", seeds.image, _manifests(), plan),
        Scenario("base", seeds.image, [base], plan),
        Scenario("blobs", seeds.image, _blobs(plan), plan, has_floor=True),
        *(Scenario("push", seeds.nothing, [measure], plan) for measure in _pushes(plan)),
        *(Scenario("tiny", seeds.nothing, [measure], plan) for measure in _tiny(plan)),
        *(Scenario("chunks", seeds.nothing, [measure], plan) for measure in _chunks(plan)),
        Scenario("tags", seeds.tags, _tags(plan), plan, keeps_root=True),
        Scenario("catalog", seeds.repositories, _catalog(plan), plan, keeps_root=True),
        Scenario("memory", seeds.image, _memory(), plan),
        Scenario(FLAT, flat.prepare, [_flat(plan)], plan, is_once=True),
        Scenario("start", seeds.image, [_start()], plan),
        *growth.scenarios(plan),
    )


def names() -> list[str]:
    """Return the names that can be selected, in order."""
    return list(dict.fromkeys(scenario.name for scenario in scenarios(Plan())))


def default_names() -> list[str]:
    """Return the names that are measured by default."""
    return [name for name in names() if name != growth.NAME]


def _manifests() -> list[Measure]:
    return [
        requests("manifest.get", "GET manifest by tag", small_requests.get_manifest),
        requests("manifest.head", "HEAD manifest by tag", small_requests.head_manifest),
    ]


def _blobs(plan: Plan) -> list[Measure]:
    title = f"GET blob {plan.served_bytes // MB} MB"
    many = f"{title}, {plan.streams} streams"
    return [
        requests("blob.head", "HEAD blob", small_requests.head_blob),
        pair("blob.get.1", f"{title}, 1 stream", "MB/s", "s/GB", downloads.one_stream),
        pair(f"blob.get.{plan.streams}", many, "MB/s", "s/GB", downloads.many_streams),
    ]


def _pushes(plan: Plan) -> list[Measure]:
    title = f"push {plan.pushed_bytes // MB} MB"
    forms = (("Content-Length", pushes.with_length), ("chunked", pushes.chunked))
    return [
        pair(f"push.{form.lower()}", f"{title}, {form}", "MB/s", "s/GB", take)
        for form, take in forms
    ]


def _tiny(plan: Plan) -> list[Measure]:
    def images(clients: int, take: Take) -> Measure:
        title = f"push tiny images, {clients} client{'s' if clients > 1 else ''}"
        return pair(f"tiny.{clients}", title, "images/s", "ms/image", take)

    return [images(1, tiny.one_client), images(plan.clients, tiny.many_clients)]


def _chunks(plan: Plan) -> list[Measure]:
    def measure(key: str, form: str, take: Take) -> Measure:
        title, window = f"{plan.chunks:,} chunks, {form}", plan.chunk_window
        ends = f"last {window} / first {window}"
        figures = [
            *pair(f"chunks.{key}", title, "MB/s", "s/GB", take).figures,
            Figure(f"chunks.{key}.cpu.growth", f"{title}, CPU of {ends}", "x", Better.LESS),
            Figure(f"chunks.{key}.time.growth", f"{title}, time of {ends}", "x", Better.LESS),
        ]
        return Measure(figures, take)

    return [
        measure("same", "one connection", chunks.one_connection),
        measure("new", "new connections", chunks.new_connections),
    ]


def _tags(plan: Plan) -> list[Measure]:
    page = f"list {plan.page} of {plan.tags:,} tags"
    return [
        requests("tags.all", f"list all {plan.tags:,} tags", listings.all_tags),
        requests("tags.first", f"{page}, from the start", listings.first_tags),
        requests("tags.page", f"{page}, from the middle", listings.tags_page),
    ]


def _catalog(plan: Plan) -> list[Measure]:
    page = f"catalog, {plan.page} of {plan.repositories:,}"
    start, middle = f"{page}, from the start", f"{page}, from the middle"
    return [
        requests("catalog.first", start, listings.first_page),
        alone("catalog.first.latency", f"{start}, one by one", "ms", listings.first_latency),
        requests("catalog.middle", middle, listings.middle_page),
        alone("catalog.middle.latency", f"{middle}, one by one", "ms", listings.middle_latency),
    ]


def _memory() -> list[Measure]:
    def figures(state: str) -> Sequence[Figure]:
        return [
            Figure(f"memory.worker.{state}", f"memory of a worker, {state}", "MB", Better.LESS),
            Figure(f"memory.all.{state}", f"memory of the server, {state}", "MB", Better.LESS),
        ]

    return [
        Measure(figures("idle"), memory.idle),
        Measure(figures("loaded"), memory.loaded),
    ]


def _flat(plan: Plan) -> Measure:
    many, size = plan.flat_clients, plan.flat_bytes // MB
    load = f"{many} pushes and {many} pulls of {size:,} MB"
    figures = [
        Figure("flat.resident", f"worker above idle, {load}", "MB", Better.LESS),
        Figure("flat.anonymous", f"worker above idle, {load}, without files", "MB", Better.LESS),
    ]
    return Measure(figures, flat.growth)


def _start() -> Measure:
    return alone("start", "start to first answer", "ms", memory.start)
