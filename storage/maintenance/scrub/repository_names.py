"""The names of all repositories: a folder of a million is read once, and its names wait on disk."""

from __future__ import annotations

from storage import paths
from storage.drivers.base import View
from storage.maintenance.database import Database
from storage.maintenance.scrub.queue import Queue, QueueId
from storage.names import NAME_LIMIT, RepositoryName, is_component

# Taken in one hop to a thread.
_AT_ONCE = 100


class RepositoryNames:
    """The folders that may be repositories, those behind `after`, in order of bytes.

    They are those of `storage.registry.walk`. What is below a folder comes behind it, and so is
    looked for when the folder's own turn comes. Calls block, and come one at a time.
    """

    def __init__(self, database: Database, after: str) -> None:
        self._queue = Queue(database, QueueId.REPOSITORIES)
        self._after = after
        self._taken: bytes | None = None

    def next(self, view: View) -> list[RepositoryName]:
        """Return the next names; none at the end."""
        if self._taken is None:
            self._taken = b""
            self._look_into(view, "")
        found: list[RepositoryName] = []
        while len(found) < _AT_ONCE and (keys := self._queue.after(self._taken, 1)):
            (self._taken,) = keys
            name = self._taken.decode("ascii")
            self._look_into(view, f"{name}/")
            if name > self._after:
                found.append(RepositoryName(name))
        return found

    def _look_into(self, view: View, prefix: str) -> None:
        """Queue the folders below one, as far as they or what is below them comes behind."""
        entries = view.entries(f"{paths.REPOSITORIES}/{prefix}".rstrip("/"))
        names = (prefix + one.name for one in entries if one.is_folder and is_component(one.name))
        self._queue.add(one.encode("ascii") for one in names if self._is_wanted(one))

    def _is_wanted(self, name: str) -> bool:
        # "~" comes behind all that a name may have.
        return len(name) <= NAME_LIMIT and f"{name}/~" > self._after
