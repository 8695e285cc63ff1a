"""Checks that a root contains nothing but the layout."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_ALG = r"(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})"
_BLOB = r"blobs/(?:sha256/([0-9a-f]{2})/\1[0-9a-f]{62}|sha512/([0-9a-f]{2})/\2[0-9a-f]{126})/data"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MEMBER = "|".join(
    (
        rf"_layers/{_ALG}/link",
        rf"_manifests/revisions/{_ALG}/link",
        rf"_manifests/tags/{_TAG}/current/link",
        rf"_manifests/tags/{_TAG}/index/{_ALG}/link",
        r"_manifests/deletions/[0-9a-f]{32}",
        rf"_referrers/(?:scanned|{_ALG}/{_ALG}/(?:link|descriptor))",
        rf"_uploads/{_UUID}/(?:data|startedat|hashstates/sha(?:256|512)/[0-9]+)",
    )
)
_FILE = re.compile(
    rf"docker/registry/v2/(?:{_BLOB}|repositories/{_PART}(?:/{_PART})*/(?:{_MEMBER}))"
)
_REPOSITORY = re.compile(rf"docker/registry/v2/repositories/({_PART}(?:/{_PART})*)")

# Folders that a server creates when it starts.
_STATE = frozenset(f".registry/{name}" for name in ("clock", "collection", "gate", "scrub", "tree"))


def strangers(root: Path) -> list[str]:
    """Return every file and repository folder that is not part of the layout."""
    return [*_strange_files(root), *_strange_folders(root)]


def _strange_files(root: Path) -> Iterator[str]:
    for folder, _, files in os.walk(root):
        for file in files:
            path = Path(folder, file).relative_to(root).as_posix()
            is_ours = path.startswith(".trash/") or path in _STATE
            if not is_ours and _FILE.fullmatch(path) is None:
                yield path


def _strange_folders(root: Path) -> Iterator[str]:
    top = root / "docker/registry/v2/repositories"
    for folder, below, _ in os.walk(top):
        below[:] = [name for name in below if not name.startswith("_")]
        for name in below:
            path = Path(folder, name).relative_to(root).as_posix()
            match = _REPOSITORY.fullmatch(path)
            if match is None or len(match[1]) > 255:
                yield path
