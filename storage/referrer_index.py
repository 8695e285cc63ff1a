"""Writes to the index of referrers, `_referrers/` in a repository.

No write waits for an fsync, neither what a push adds nor what a list request finds missing. After a
power cut the note about the last scan names another boot, so the scan is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping

from storage.digest import Digest
from storage.drivers.base import Driver, Uses
from storage.drivers.changes import Note
from storage.links import is_member
from storage.names import RepositoryName


class _Gone(Exception):
    """A referrer was deleted; a file about it would be left behind."""


async def write(driver: Driver, name: RepositoryName, notes: Mapping[Digest, Note]) -> bool:
    """Write the files of referrers, in one hop; False, with none written, if one was deleted.

    Raises OSError or `OperationDisabled` where nothing can be written.
    """

    def check(view: Uses) -> None:
        if not all(is_member(view, name, referrer) for referrer in notes):
            raise _Gone

    try:
        await driver.publish(tuple(notes.values()), check=check)
    except _Gone:
        return False
    return True
