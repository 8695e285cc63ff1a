"""Writes to the index of referrers, `_referrers/` in a repository.

Nothing of it waits for the disk, neither what a push adds nor what a list request finds missing:
after a power cut the note about the last scan is of another boot, and the scan is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping

from storage import paths
from storage.digest import Digest
from storage.drivers.base import Driver, Uses, View
from storage.drivers.changes import Note
from storage.links import read_link
from storage.names import RepositoryName


class _Gone(Exception):
    """A referrer was deleted; a note about it would be left behind."""


def is_member(view: View, name: RepositoryName, digest: Digest) -> bool:
    """Tell whether a repository has a manifest."""
    return read_link(view, paths.revision_link(name, digest)) == digest


async def write(driver: Driver, name: RepositoryName, notes: Mapping[Digest, Note]) -> bool:
    """Write notes about referrers, in one hop; False, with none written, if one was deleted.

    Raises OSError and `OperationDisabled` where nothing can be written.
    """

    def check(view: Uses) -> None:
        if not all(is_member(view, name, referrer) for referrer in notes):
            raise _Gone

    try:
        await driver.publish(tuple(notes.values()), check=check)
    except _Gone:
        return False
    return True
