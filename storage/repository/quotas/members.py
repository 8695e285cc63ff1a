"""The total size of a repository's blobs and manifests, cached by parts.

The size of content never changes, so a sum stays valid while the folders of links list the same
names. The names are compared in parts, by the first digits of their hex. When a member is added or
removed, only its part is read again: 1 of 4096 in a large repository. The cache holds a part's sum
and a hash of its names, so a repository of a million members takes no more memory than one of five
thousand.

A name is certain once its link and its content have been seen; the sum includes it. Until then it
is doubtful and checked each time, because the link or the content may be written without a change
of the listing. A name that stands for content with another digest is always doubtful.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from storage.content.links import read_link
from storage.drivers.base import Reader
from storage.errors import DigestInvalid
from storage.values import paths
from storage.values.cache import Lru
from storage.values.digest import CANONICAL, HEX_LENGTHS, Digest
from storage.values.names import RepositoryName

# Bytes of the cache. A repository may have an eighth of it; all parts take half of that.
_LIMIT = 24 << 20
# Bytes that CPython 3.11 allocates for a part with its key and hash, and for a doubtful name.
_PART_BYTES = 400
_NAME_BYTES = 256

# Fewer members are split into 16 parts, more into 4096.
_MANY = 4096

# The index of a folder of links, and a name in it.
_Name: TypeAlias = tuple[int, str]
# The names in each folder of links.
_Names: TypeAlias = tuple[list[str], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A hash of a part's names, the sum of its certain members' sizes, and its doubtful names."""

    names: bytes
    size: int
    doubt: tuple[_Name, ...]


class PartCache:
    """A thread-safe cache of the parts of repositories."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._known: Lru[str, Mapping[str, Part]] = Lru(limit, _cost)

    def of(self, name: RepositoryName) -> Mapping[str, Part]:
        """Return the cached parts of a repository, by the first digits of their members."""
        return self._known.get(name.text) or {}

    def put(self, name: RepositoryName, parts: Mapping[str, Part]) -> None:
        """Cache the parts of a repository."""
        self._known.put(name.text, parts)


def _cost(parts: Mapping[str, Part]) -> int:
    doubts = sum(len(part.doubt) for part in parts.values())
    return len(parts) * _PART_BYTES + doubts * _NAME_BYTES


class Members:
    """The members of a repository, from one listing.

    The folder of a link that was seen before counts as a link unless `thorough` is set, which
    checks each link. Other registries leave such folders behind when they delete.
    """

    def __init__(
        self, reader: Reader, name: RepositoryName, known: Mapping[str, Part], *, thorough: bool
    ) -> None:
        self._links = _Links(reader, name)
        listed = self._links.listed()
        self._width = 1 if sum(map(len, listed)) < _MANY else 3
        self._names = _split(listed, self._width)
        self.parts = {
            start: self._part(names, known.get(start), thorough=thorough)
            for start, names in self._names.items()
        }
        doubts = (doubt for part in self.parts.values() for doubt in part.doubt)
        # By the hex under which the content is stored.
        self.doubtful = {digest.hex: size for digest, size in self._links.stored(doubts)}

    @property
    def size(self) -> int:
        """The bytes of all members, each counted once."""
        doubtful = (size for hex, size in self.doubtful.items() if not self._is_certain(hex))
        return sum(part.size for part in self.parts.values()) + sum(doubtful)

    def __contains__(self, hex: str) -> bool:
        return hex in self.doubtful or self._is_certain(hex)

    def _is_certain(self, hex: str) -> bool:
        """Return whether the sum of its part includes a name."""
        start = hex[: self._width]
        return any(
            hex in names and (at, hex) not in self.parts[start].doubt
            for at, names in enumerate(self._names.get(start, ()))
        )

    def _part(self, names: _Names, known: Part | None, *, thorough: bool) -> Part:
        hash = _hash(names)
        if known is None or known.names != hash or (thorough and not self._is_whole(names, known)):
            return self._add_up(names, hash)
        return known

    def _is_whole(self, names: _Names, known: Part) -> bool:
        """Return whether all certain names still have a link."""
        return all(name in known.doubt or self._links.exists(name) for name in _each(names))

    def _add_up(self, names: _Names, hash: bytes) -> Part:
        sizes: dict[str, int] = {}
        doubt: list[_Name] = []
        for name in _each(names):
            for digest, size in self._links.stored([name]):
                # An empty file may be damaged; then the next push stores the content again.
                if size and digest.hex == name[1]:
                    sizes[digest.hex] = size
                    break
            else:
                doubt.append(name)
        return Part(hash, sum(sizes.values()), tuple(doubt))


def member_at(reader: Reader, name: RepositoryName, digest: Digest) -> tuple[Digest, int] | None:
    """Return the digest under which a member is stored, and its size; None if it is no member."""
    links = (paths.layer_link(name, digest), paths.revision_link(name, digest))
    members = (stored for link in links for stored in _stored(reader, digest, link))
    return next(members, None)


def content_at(reader: Reader, name: RepositoryName, digest: Digest) -> tuple[Digest, int] | None:
    """Return the same for blobs only, not for manifests."""
    return next(_stored(reader, digest, paths.layer_link(name, digest)), None)


class _Links:
    """The folders of links of a repository: for blobs and for manifests, by algorithm."""

    def __init__(self, reader: Reader, name: RepositoryName) -> None:
        self._reader = reader
        self._folders = [
            (folder, algorithm)
            for folder in (paths.layers(name), paths.revisions(name))
            for algorithm in HEX_LENGTHS
        ]

    def listed(self) -> _Names:
        """Return the names in each folder, which may be no digests."""
        return tuple(self._reader.names("/".join(folder)) for folder in self._folders)

    def exists(self, name: _Name) -> bool:
        """Return whether a name has a link."""
        return _is_link(self._reader, self._link(name))

    def stored(self, names: Iterable[_Name]) -> Iterator[tuple[Digest, int]]:
        """Yield the digest under which each member is stored, and its size."""
        for name in names:
            at, hex = name
            try:
                digest = Digest.parse(f"{self._folders[at][1]}:{hex}")
            except DigestInvalid:
                continue
            yield from _stored(self._reader, digest, self._link(name))

    def _link(self, name: _Name) -> str:
        at, hex = name
        return f"{'/'.join(self._folders[at])}/{hex}/{paths.LINK}"


def _split(listed: _Names, width: int) -> dict[str, _Names]:
    """Group names by their first `width` digits."""
    parts: defaultdict[str, _Names] = defaultdict(lambda: tuple([] for _ in listed))
    for at, names in enumerate(listed):
        for hex in names:
            parts[hex[:width]][at].append(hex)
    return parts


def _each(names: _Names) -> Iterator[_Name]:
    return ((at, hex) for at, folder in enumerate(names) for hex in folder)


def _hash(names: _Names) -> bytes:
    # No name contains a slash or is empty, so the text is unambiguous.
    text = "//".join("/".join(sorted(folder)) for folder in names)
    return hashlib.blake2b(os.fsencode(text), digest_size=32).digest()


def _stored(reader: Reader, digest: Digest, link: str) -> Iterator[tuple[Digest, int]]:
    """Yield the digest under which a member is stored, and its size; nothing if it is no member."""
    if not _is_link(reader, link):
        return
    info = reader.stat(paths.blob(digest))
    if info is None and digest.algorithm != CANONICAL:
        # distribution stores it under the sha256 of its bytes, which the link holds.
        digest = read_link(reader, link) or digest
        info = reader.stat(paths.blob(digest))
    if info is not None:
        yield digest, info.size


def _is_link(reader: Reader, link: str) -> bool:
    """Return whether a link exists and is not empty, as a crash of an older registry leaves it."""
    info = reader.stat(link)
    return info is not None and info.size > 0
