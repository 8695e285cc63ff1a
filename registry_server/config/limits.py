"""`limits`: how much clients may ask of each worker, and how much a repository may hold."""

from datetime import timedelta
from typing import Annotated

from annotated_types import Ge, Le

from registry_server.config.access import Glob
from registry_server.config.section import Section
from registry_server.config.validators import AfterValidator
from registry_server.config.values import Grace, Interval, Size

_MOST = 1_000_000
_MOST_FAILURES = 1000  # each is remembered
_FASTEST = 1 << 20  # more than that is no limit for the slowest
# A manifest of less than that may well be an honest one; of more than that each costs much.
_SMALLEST_MANIFEST, _LARGEST_MANIFEST = 64 << 10, 16 << 20


def _of_everybody(glob: str) -> str:
    if "{user}" in glob.split("/"):
        raise ValueError("must not name {user}: a limit holds whoever pushes")
    return glob


def _some(globs: tuple[str, ...]) -> tuple[str, ...]:
    if not globs:
        raise ValueError("must not be empty: ** is all repositories")
    return globs


Count = Annotated[int, Ge(0), Le(_MOST)]
GlobOfEverybody = Annotated[Glob, AfterValidator(_of_everybody)]


class Requests(Section):
    """`limits.requests`: requests a second, `burst` at once; 0 for no limit."""

    perclient: Count = 0
    burst: Count = 100
    total: Count = 0


class Uploads(Section):
    """`limits.uploads`: how many requests may bring bytes of blobs at once; 0 for no limit."""

    perclient: Count = 0
    total: Count = 0


class Logins(Section):
    """`limits.logins`: how many wrong passwords an address may show within `window`."""

    failures: Annotated[int, Ge(0), Le(_MOST_FAILURES)] = 0
    window: Interval = timedelta(minutes=5)


class Bodies(Section):
    """`limits.bodies`: how slowly a body may come; `least` 0 for as slowly as it likes."""

    least: Annotated[Size, Ge(0), Le(_FASTEST)] = 1 << 10
    within: Grace = timedelta(seconds=60)


class Manifests(Section):
    """`limits.manifests`: how large a pushed manifest may be, and to how much it may refer."""

    size: Annotated[Size, Ge(_SMALLEST_MANIFEST), Le(_LARGEST_MANIFEST)] = 4 << 20
    references: Count = 10_000


class RepositoryLimit(Section):
    """`limits.repositories[]`: what each repository that a glob matches may hold; 0 for no limit.

    `bytes` and `uploads` are None where it does not say: a less specific entry may.
    """

    repositories: Annotated[tuple[GlobOfEverybody, ...], AfterValidator(_some)]
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
