"""The findings of a scrub: what is wrong, where, and whether it was repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias

from storage.errors import StorageError
from storage.values.digest import Digest
from storage.values.names import RepositoryName


class Kind(Enum):
    """The kind of damage, or of harmless irregularity."""

    CORRUPT_BLOB = "corrupt-blob"
    UNREADABLE = "unreadable"
    DAMAGED_LINK = "damaged-link"
    DEAD_LINK = "dead-link"
    DEAD_TAG = "dead-tag"
    BAD_MANIFEST = "bad-manifest"
    MISSING_BLOB = "missing-blob"
    # Notes from here on (`_NOTES`): nothing is lost, and this registry works in spite of it.
    MISSING_CHILD = "missing-child"
    UNCHECKED_MANIFEST = "unchecked-manifest"
    ORPHANED_LINK = "orphaned-link"
    UNTIDY_LINK = "untidy-link"
    STALE_HISTORY = "stale-history"
    STALE_REFERRER = "stale-referrer"
    UNLISTED_REFERRER = "unlisted-referrer"
    LEFTOVER = "leftover"
    FOREIGN = "foreign"

    @property
    def is_note(self) -> bool:
        """Whether this is no damage, only worth knowing."""
        return self in _NOTES

    @property
    def remedy(self) -> str:
        """What repairs or explains such a finding; empty if that is unknown."""
        return _REMEDIES.get(self, "")


_KINDS = list(Kind)
_NOTES = frozenset(_KINDS[_KINDS.index(Kind.MISSING_CHILD) :])
_REMEDIES = {
    Kind.CORRUPT_BLOB: "--repair moves it to quarantine, then it can be pushed again",
    Kind.UNREADABLE: "check the disk",
    Kind.DAMAGED_LINK: "--repair rewrites it if its content is certain, or removes it",
    Kind.DEAD_LINK: "--repair removes it",
    Kind.ORPHANED_LINK: "collections by registry:2 or registry:3 leave such links; "
    "--repair removes it",
    Kind.DEAD_TAG: "--repair removes the tag; pushing it again repairs it",
    Kind.UNTIDY_LINK: "--repair rewrites it",
    Kind.STALE_HISTORY: "--repair removes it",
    Kind.STALE_REFERRER: "--repair removes it",
    Kind.UNLISTED_REFERRER: "--repair adds it, and so does the next list of referrers",
    Kind.FOREIGN: "never changed",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at `path`, which is relative to the storage's root.

    `what` describes it. `how` says how it was repaired, or what would help; it is empty when
    nothing has to be done, or the remedy is unknown.
    """

    kind: Kind
    path: str
    what: str
    repository: RepositoryName | None = None
    digest: Digest | None = None
    how: str = ""
    repaired: bool = False

    def as_left(self, how: str) -> Finding:
        """Return a copy that is not repaired, with the reason or the remedy."""
        return replace(self, how=how, repaired=False)

    def as_repaired(self, how: str) -> Finding:
        """Return a copy that is repaired."""
        return replace(self, how=how, repaired=True)

    def document(self) -> dict[str, object]:
        """Return the finding as a JSON document, which `read_finding` parses."""
        return {
            "kind": self.kind.value,
            "severity": "note" if self.kind.is_note else "error",
            "repository": None if self.repository is None else self.repository.text,
            "digest": None if self.digest is None else str(self.digest),
            "path": shown(self.path),
            "what": shown(self.what),
            "how": shown(self.how),
            "repaired": self.repaired,
        }


# Receives findings.
Found: TypeAlias = Callable[[Finding], None]


def read_finding(document: Any) -> Finding:
    """Parse a finding's document; raise ValueError if it is malformed."""
    try:
        repository, digest = document["repository"], document["digest"]
        return Finding(
            kind=Kind(document["kind"]),
            path=str(document["path"]),
            what=str(document["what"]),
            repository=None if repository is None else RepositoryName.parse(repository),
            digest=None if digest is None else Digest.parse(digest),
            how=str(document["how"]),
            repaired=bool(document["repaired"]),
        )
    except (KeyError, TypeError, AttributeError, StorageError) as error:
        raise ValueError(f"not a finding: {error!r}") from None


def shown(text: str) -> str:
    """Return a text from the disk in printable characters, on one line.

    Bytes that are not UTF-8, which Python decodes to surrogates, become `\\xff` and the like.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
