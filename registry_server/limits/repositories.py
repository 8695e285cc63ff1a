"""Which limits hold for a repository: the most specific entry that names one decides about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry_server.auth.globs import Glob, Rank
from registry_server.config.limits import RepositoryLimit
from storage.names import RepositoryName
from storage.quotas import Limits

# Where bytes are limited and uploads are not mentioned. Each is looked at for each decision about
# room, so that a client which begins them without end would make all others wait.
MOST_UPLOADS = 1000


class RepositoryLimits:
    """Tells the limits of each repository, each kind of them by itself.

    Of globs that are equally specific the stricter limit holds.
    """

    def __init__(self, entries: Iterable[RepositoryLimit]) -> None:
        globs = [(Glob.parse(text), entry) for entry in entries for text in entry.repositories]
        # The most specific comes first.
        self._globs = sorted(globs, key=lambda one: one[0].rank, reverse=True)

    def __call__(self, name: RepositoryName) -> Limits:
        """Return what holds for `name`, and nothing for what has no limit."""
        matching = [(glob.rank, entry) for glob, entry in self._globs if glob.matches(name.text)]
        most = _decided([(rank, entry.bytes) for rank, entry in matching])
        uploads = _decided([(rank, entry.uploads) for rank, entry in matching])
        if uploads is None and most:
            uploads = MOST_UPLOADS
        return Limits(bytes=most or 0, uploads=uploads or 0)


def _decided(said: Sequence[tuple[Rank, int | None]]) -> int | None:
    """Return the limit that the most specific of those that say one do, where 0 is none."""
    first = next((rank for rank, limit in said if limit is not None), None)
    if first is None:
        return None
    return min((limit for rank, limit in said if rank == first and limit), default=0)
