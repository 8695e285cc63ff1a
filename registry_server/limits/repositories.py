"""The limits of each repository: the most specific matching entry decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry_server.access.globs import Glob, Rank
from registry_server.config.limits import RepositoryLimit
from storage.repository.quotas import Limits
from storage.values.names import RepositoryName

# The default if only bytes are limited. Every reservation reads all uploads, so a client that
# starts them without limit would slow down all others.
MOST_UPLOADS = 1000


class RepositoryLimits:
    """Returns the limits of a repository; bytes and uploads are decided separately.

    Of equally specific globs, the stricter limit applies.
    """

    def __init__(self, entries: Iterable[RepositoryLimit]) -> None:
        globs = [(Glob.parse(text), entry) for entry in entries for text in entry.repositories]
        # The most specific comes first.
        self._globs = sorted(globs, key=lambda item: item[0].rank, reverse=True)

    def __call__(self, name: RepositoryName) -> Limits:
        """Return the limits of a repository; 0 means no limit."""
        matching = [(glob.rank, entry) for glob, entry in self._globs if glob.matches(name.text)]
        most_bytes = _most_specific([(rank, entry.bytes) for rank, entry in matching])
        uploads = _most_specific([(rank, entry.uploads) for rank, entry in matching])
        if uploads is None and most_bytes:
            uploads = MOST_UPLOADS
        return Limits(bytes=most_bytes or 0, uploads=uploads or 0)


def _most_specific(ranked: Sequence[tuple[Rank, int | None]]) -> int | None:
    """Return the strictest limit of the most specific entries with one, where 0 is no limit."""
    first = next((rank for rank, limit in ranked if limit is not None), None)
    if first is None:
        return None
    return min((limit for rank, limit in ranked if rank == first and limit), default=0)
