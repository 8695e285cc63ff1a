"""How much of the storage a collection could read, and so what it may delete."""

from __future__ import annotations

from dataclasses import dataclass

from storage.maintenance.tolerant_reads import Trouble


@dataclass(frozen=True, slots=True)
class Coverage:
    """What could not be read: parts of the tree (`trouble`), and manifests (`unreadable`, a count).

    A part that can't be read may need any blob. A part that may be hidden (`is_hidden`), for
    example on a disk that is not mounted, may need any manifest and link as well. An unreadable
    manifest keeps its own repository only.
    """

    trouble: tuple[Trouble, ...] = ()
    is_hidden: bool = False
    unreadable: int = 0

    @property
    def allows_links(self) -> bool:
        """Whether links of manifests, tags and blobs may be deleted."""
        return not self.is_hidden

    @property
    def allows_blobs(self) -> bool:
        """Whether blobs may be deleted."""
        return not self.trouble

    @property
    def is_complete(self) -> bool:
        """Whether everything could be read."""
        return not self.trouble and not self.unreadable
