"""When a file or a folder was last changed."""

from __future__ import annotations

from storage.drivers.base import Reader


def last_change(reader: Reader, path: str) -> int | None:
    """Return when a file, or the list of entries of a folder, last changed, in ns since 1970.

    None when nothing is there, or when it can't be told.
    """
    found = reader.stat(path)
    return reader.modified(path) if found is None else found.modified_ns
