"""The time of the last change of a file or folder."""

from __future__ import annotations

from storage.drivers.base import Reader


def last_change(reader: Reader, path: str) -> int | None:
    """Return the mtime of a file or folder in ns since 1970; None when missing or unknown.

    The mtime of a folder changes with its list of entries.
    """
    stat = reader.stat(path)
    return reader.modified(path) if stat is None else stat.modified_ns
