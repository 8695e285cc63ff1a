"""Writes to the index of referrers, `_referrers/` in a repository.

No write is synced, neither by a push nor by a list request that finds entries missing. After a
power cut the record of the last scan names another boot, so the scan is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping

from storage.content.links import is_member
from storage.drivers.base import Driver, TouchingReader
from storage.drivers.changes import PutUnsynced
from storage.values.digest import Digest
from storage.values.names import RepositoryName


class _ReferrerDeleted(Exception):
    """A referrer was deleted, so its files must not be written."""


async def write(driver: Driver, name: RepositoryName, files: Mapping[Digest, PutUnsynced]) -> bool:
    """Write the files of referrers; return False, with none written, if one was deleted.

    Raises OSError, or `OperationDisabled` on a read-only volume.
    """

    def check(reader: TouchingReader) -> None:
        if not all(is_member(reader, name, referrer) for referrer in files):
            raise _ReferrerDeleted

    try:
        await driver.publish(tuple(files.values()), check=check)
    except _ReferrerDeleted:
        return False
    return True
