"""The names of all repositories, in a queue on disk, because there may be a million of them."""

from __future__ import annotations

from storage.drivers.base import Reader
from storage.maintenance.database import Database
from storage.maintenance.scrub.stages.key_queue import Queue, QueueId
from storage.values import paths
from storage.values.names import NAME_LIMIT, RepositoryName, is_component

# Names returned by one hop to a thread.
_PAGE = 100


class RepositoryNames:
    """The folders that may be repositories, those after `after`, in the order of their bytes.

    They are those of `storage.repository.registry.walk`. The folders below a folder sort after it,
    so they are listed when the folder itself is returned. Calls block. Make one call at a time.
    """

    def __init__(self, database: Database, after: str) -> None:
        self._queue = Queue(database, QueueId.REPOSITORIES)
        self._after = after
        self._taken: bytes | None = None

    def next(self, reader: Reader) -> list[RepositoryName]:
        """Return the next names; none at the end."""
        if self._taken is None:
            self._taken = b""
            self._look_into(reader, "")
        page: list[RepositoryName] = []
        while len(page) < _PAGE and (keys := self._queue.after(self._taken, 1)):
            (self._taken,) = keys
            name = self._taken.decode("ascii")
            self._look_into(reader, f"{name}/")
            if name > self._after:
                page.append(RepositoryName(name))
        return page

    def _look_into(self, reader: Reader, prefix: str) -> None:
        """Queue the folders in a folder, if they, or folders below them, sort after `after`."""
        entries = reader.entries(f"{paths.REPOSITORIES}/{prefix}".rstrip("/"))
        folders = (entry.name for entry in entries if entry.is_folder)
        names = (prefix + name for name in folders if is_component(name))
        self._queue.add(name.encode("ascii") for name in names if self._is_wanted(name))

    def _is_wanted(self, name: str) -> bool:
        # "~" sorts after all characters of names.
        return len(name) <= NAME_LIMIT and f"{name}/~" > self._after
