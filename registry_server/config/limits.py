"""`limits`: limits for the clients of each worker, and for the content of a repository."""

from datetime import timedelta
from typing import Annotated

from annotated_types import Ge, Le

from registry_server.config.access import Glob
from registry_server.config.section import Section
from registry_server.config.validators import AfterValidator
from registry_server.config.values import Grace, Interval, Size

_MOST = 1_000_000
_MOST_FAILURES = 1000  # each failure takes memory
_FASTEST = 1 << 20  # a higher rate would cut ordinary clients
# A smaller limit would refuse ordinary manifests; a larger one would make each too expensive.
_SMALLEST_MANIFEST, _LARGEST_MANIFEST = 64 << 10, 16 << 20


def _without_user(glob: str) -> str:
    if "{user}" in glob.split("/"):
        raise ValueError("must not contain {user}: a limit applies to all users")
    return glob


def _some(globs: tuple[str, ...]) -> tuple[str, ...]:
    if not globs:
        raise ValueError("must not be empty: write ** for all repositories")
    return globs


Count = Annotated[int, Ge(0), Le(_MOST)]
GlobWithoutUser = Annotated[Glob, AfterValidator(_without_user)]


class Requests(Section):
    """`limits.requests`: requests per second, with bursts of `burst`; 0 means no limit."""

    perclient: Count = 0
    burst: Count = 100
    total: Count = 0


class Uploads(Section):
    """`limits.uploads`: how many requests may upload blobs concurrently; 0 means no limit."""

    perclient: Count = 0
    total: Count = 0


class Logins(Section):
    """`limits.logins`: failed logins per client address within `window`; 0 means no limit."""

    failures: Annotated[int, Ge(0), Le(_MOST_FAILURES)] = 0
    window: Interval = timedelta(minutes=5)


class Bodies(Section):
    """`limits.bodies`: the minimum rate of a request body, `least` bytes; 0 means no minimum."""

    least: Annotated[Size, Ge(0), Le(_FASTEST)] = 1 << 10
    within: Grace = timedelta(seconds=60)


class Manifests(Section):
    """`limits.manifests`: the largest size and the most references of a pushed manifest."""

    size: Annotated[Size, Ge(_SMALLEST_MANIFEST), Le(_LARGEST_MANIFEST)] = 4 << 20
    references: Count = 10_000


class RepositoryLimit(Section):
    """`limits.repositories[]`: limits of each repository that a glob matches; 0 means no limit.

    If `bytes` or `uploads` is None, a less specific entry may set it.
    """

    repositories: Annotated[tuple[GlobWithoutUser, ...], AfterValidator(_some)]
    bytes: Size | None = None
    uploads: Count | None = None

    def __post_init__(self) -> None:
        if self.bytes is None and self.uploads is None:
            raise ValueError("needs bytes or uploads")


class Limits(Section):
    """`limits`."""

    requests: Requests = Requests()
    uploads: Uploads = Uploads()
    logins: Logins = Logins()
    bodies: Bodies = Bodies()
    manifests: Manifests = Manifests()
    repositories: tuple[RepositoryLimit, ...] = ()
