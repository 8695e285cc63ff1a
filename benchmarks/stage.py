"""Plans, scenarios, measures, and the stage that a measure runs on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.layout import Tree
from benchmarks.material import PIECE_BYTES, Material, Sizes
from benchmarks.processes import Server

MB = 1_000_000
GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes in bytes, durations in seconds, counts. Time or count ends a measurement."""

    seconds: int = 5
    warmup_seconds: int = 1
    connections: int = 16
    served_bytes: int = 300 * MB
    single_downloads: int = 10
    streams: int = 8
    stream_downloads: int = 2
    pushed_bytes: int = 500 * MB
    pushes: int = 1
    warmup_bytes: int = 16 * MB
    clients: int = 8
    images_each: int = 2000
    warmup_images: int = 5
    tags: int = 10_000
    repositories: int = 5_000
    page: int = 100
    list_connections: int = 4
    chunks: int = 2000
    chunk_window: int = 100
    flat_clients: int = 16
    flat_bytes: int = 2 * GB
    growth_points: int = 4

    @property
    def sizes(self) -> Sizes:
        """The sizes of the bodies that this plan needs."""
        flat = self.flat_bytes // PIECE_BYTES
        return Sizes(self.served_bytes, self.pushed_bytes, self.warmup_bytes, self.chunks, flat)


QUICK = Plan(
    seconds=1,
    served_bytes=60 * MB,
    pushed_bytes=100 * MB,
    images_each=200,
    tags=1_000,
    repositories=500,
    chunks=60,
    chunk_window=20,
    flat_clients=4,
    flat_bytes=50 * MB,
    growth_points=2,
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A server on a prepared root, and a folder beside it to write to.

    A measure adds `notes` for the reader of its figures, and the client's share of the CPU
    (`Used.client_share`) to `client_shares`.
    """

    server: Server
    material: Material
    plan: Plan
    script: Path
    folder: Path
    notes: list[str] = field(default_factory=list)
    client_shares: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measure:
    """Figures that are measured together: `take` returns their values in order.

    `take` discards its own warm-up, and raises `WrongAnswer` rather than return a doubtful value.
    """

    figures: Sequence[Figure]
    take: Callable[[Stage], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One start of a server on a root, and its measures in order.

    `prepare` writes the root before each start. With `keeps_root` it is written once per server and
    kept; this is for costly roots that no measure pushes to. With `is_once` only the first round
    measures it; this is for long measures with little variation. With `has_floor` nginx is measured
    on the same root.
    """

    name: str
    prepare: Callable[[Tree, Material, Plan], None]
    measures: Sequence[Measure]
    plan: Plan
    keeps_root: bool = False
    is_once: bool = False
    has_floor: bool = False

    @property
    def key(self) -> str:
        """The unique name of this scenario: the key of its first figure."""
        return self.measures[0].figures[0].key
