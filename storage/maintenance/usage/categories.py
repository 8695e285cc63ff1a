"""The category of a file, derived from its path alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from storage.errors import DigestInvalid, UploadIdInvalid
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import UploadId, is_component, is_tag


class Category(Enum):
    """The category of a file."""

    BLOB = "blobs"
    LINK = "links"
    UPLOAD = "uploads"
    TEMPORARY = "temporary"
    TRASH = "trash"
    QUARANTINE = "quarantine"
    OWN = "own"
    FOREIGN = "foreign"

    @property
    def explanation(self) -> str:
        """A short description of such files."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Category.BLOB: "layers, configurations and manifests",
    Category.LINK: "membership of repositories, tags, referrers",
    Category.UPLOAD: "uploads in progress; purge-uploads removes abandoned ones",
    Category.TEMPORARY: "being written, or left by a crash; old ones are garbage",
    Category.TRASH: "removed, and not yet deleted from the disk; garbage",
    Category.QUARANTINE: "corrupt blobs that scrub found; kept until you delete them",
    Category.OWN: "locks, state and keys of the registry",
    Category.FOREIGN: "files of other programs; never touched",
}

_DIGEST = "|".join(f"{alg}/[0-9a-f]{{{length}}}" for alg, length in HEX_LENGTHS.items())
_LINK = re.compile(
    rf"(?:_layers|_manifests/revisions|_referrers/(?:{_DIGEST}))/(?:{_DIGEST})/{paths.LINK}"
    rf"|_referrers/(?:{_DIGEST})/(?:{_DIGEST})/{paths.DESCRIPTOR}"
    rf"|_manifests/tags/(?P<tag>[^/]+)/(?:current|index/(?:{_DIGEST}))/{paths.LINK}"
    r"|_referrers/scanned"
)
_SHORT = re.compile(rf"(?:{'|'.join(HEX_LENGTHS)})/[0-9a-f]{{2}}")


def category_of(path: str) -> Category:
    """Return the category of the file at a path."""
    for folder, category in _FOLDERS:
        if path.startswith(f"{folder}/"):
            return category
    if path.startswith(f"{paths.BLOBS}/"):
        return _of_blobs(path)
    if path.startswith(f"{paths.REPOSITORIES}/"):
        return _of_repositories(path.removeprefix(f"{paths.REPOSITORIES}/").split("/"))
    return Category.FOREIGN


_FOLDERS = (
    (paths.TRASH, Category.TRASH),
    (paths.QUARANTINE, Category.QUARANTINE),
    (paths.OURS, Category.OWN),
    (paths.ACCESS, Category.OWN),
)


def _of_blobs(path: str) -> Category:
    *folders, name = path.removeprefix(f"{paths.BLOBS}/").split("/")
    if not _SHORT.fullmatch("/".join(folders[:2])) or len(folders) > 3:
        return Category.FOREIGN
    if len(folders) == 3 and name == "data":
        try:
            found = paths.blob(Digest.parse(f"{folders[0]}:{folders[2]}"))
        except DigestInvalid:
            return Category.FOREIGN
        return Category.BLOB if found == path else Category.FOREIGN
    return Category.TEMPORARY if paths.is_temporary(name) else Category.FOREIGN


def _of_repositories(parts: Sequence[str]) -> Category:
    start = next((at for at, part in enumerate(parts) if paths.is_part(part)), len(parts) - 1)
    if not start or not all(map(is_component, parts[:start])):
        return Category.FOREIGN
    if parts[start] == paths.UPLOADS:
        return _of_uploads(parts[start + 1 :])
    match = _LINK.fullmatch("/".join(parts[start:]))
    if match and (match["tag"] is None or is_tag(match["tag"])):
        return Category.LINK
    return Category.TEMPORARY if any(map(paths.is_temporary, parts)) else Category.FOREIGN


def _of_uploads(parts: Sequence[str]) -> Category:
    try:
        UploadId.parse(parts[0])
    except (UploadIdInvalid, IndexError):
        return Category.FOREIGN
    return Category.UPLOAD if len(parts) > 1 else Category.FOREIGN
