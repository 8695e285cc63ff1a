"""The content of a repository, added up part by part.

The size of content never changes, so members that were added up once need no second look while the
folders of links list the same ones. They are compared in parts: those whose hex begins alike. When
a member comes or goes, the members of one part are looked at again, a four-thousandth of many. What
is remembered of a part is its sum, and of its names no more than a hash, so a repository of a
million members takes no more memory than one of five thousand.

A name counts for certain once there was a link, and content of the size that is added up. Until
then it is looked at each time, for link or content may come without a change of the listing. A name
that stands for content with another digest always is.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from storage import paths
from storage.cache import Lru
from storage.digest import CANONICAL, HEX_LENGTHS, Digest
from storage.drivers.base import View
from storage.errors import DigestInvalid
from storage.links import read_link
from storage.names import RepositoryName

# Bytes in all. A repository may have an eighth of it, and takes half of that with all its parts.
_LIMIT = 24 << 20
# What CPython 3.11 allocates for a part, its beginning and its hash, and for a name in doubt.
_PART_BYTES = 400
_NAME_BYTES = 256

# Fewer members are in 16 parts, more in 4096.
_MANY = 4096

# One of the folders of links, by its place among them, and a name in it.
_Name: TypeAlias = tuple[int, str]
# What each of the folders of links lists.
_Names: TypeAlias = tuple[list[str], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The `size` of members by a hash of all `names`, and without those that are in `doubt`."""

    names: bytes
    size: int
    doubt: tuple[_Name, ...]


class Tallies:
    """What was added up of repositories; worker threads may share one."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._known: Lru[str, Mapping[str, Part]] = Lru(limit, _cost)

    def of(self, name: RepositoryName) -> Mapping[str, Part]:
        """Return the parts that are known of a repository, by how their members begin."""
        return self._known.get(name.text) or {}

    def note(self, name: RepositoryName, parts: Mapping[str, Part]) -> None:
        """Know these of a repository from now on."""
        self._known.put(name.text, parts)


def _cost(parts: Mapping[str, Part]) -> int:
    doubts = sum(len(part.doubt) for part in parts.values())
    return len(parts) * _PART_BYTES + doubts * _NAME_BYTES


class Members:
    """What is linked in a repository, by one listing.

    A folder for a link that was there once counts as a link unless the look is `thorough`. Another
    registry that deletes leaves such folders behind. A thorough look asks for each link.
    """

    def __init__(
        self, view: View, name: RepositoryName, known: Mapping[str, Part], *, thorough: bool
    ) -> None:
        self._links = _Links(view, name)
        listed = self._links.listed()
        self._width = 1 if sum(map(len, listed)) < _MANY else 3
        self._names = _split(listed, self._width)
        self.parts = {
            start: self._part(names, known.get(start), thorough=thorough)
            for start, names in self._names.items()
        }
        doubts = (doubt for part in self.parts.values() for doubt in part.doubt)
        # By the hex under which each is stored.
        self.doubtful = {digest.hex: size for digest, size in self._links.stored(doubts)}

    @property
    def size(self) -> int:
        """The bytes of all members, each once."""
        doubtful = (size for hex, size in self.doubtful.items() if not self._is_certain(hex))
        return sum(part.size for part in self.parts.values()) + sum(doubtful)

    def __contains__(self, hex: str) -> bool:
        return hex in self.doubtful or self._is_certain(hex)

    def _is_certain(self, hex: str) -> bool:
        """Tell whether the sum of its part has the size of some content."""
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
        """Tell whether all that counts for certain still has a link."""
        return all(one in known.doubt or self._links.is_there(one) for one in _each(names))

    def _add_up(self, names: _Names, hash: bytes) -> Part:
        sizes: dict[str, int] = {}
        doubt: list[_Name] = []
        for one in _each(names):
            for digest, size in self._links.stored([one]):
                # Without a size it was cut short, perhaps, and the next push brings it again.
                if size and digest.hex == one[1]:
                    sizes[digest.hex] = size
                    break
            else:
                doubt.append(one)
        return Part(hash, sum(sizes.values()), tuple(doubt))


def member_at(view: View, name: RepositoryName, digest: Digest) -> tuple[Digest, int] | None:
    """Return under which digest a member is stored, and its size; None when it is no member."""
    links = (paths.layer_link(name, digest), paths.revision_link(name, digest))
    found = (stored for link in links for stored in _stored(view, digest, link))
    return next(found, None)


def content_at(view: View, name: RepositoryName, digest: Digest) -> tuple[Digest, int] | None:
    """Return the same of a blob alone."""
    return next(_stored(view, digest, paths.layer_link(name, digest)), None)


class _Links:
    """The folders of links of a repository: of blobs and of manifests, for each algorithm."""

    def __init__(self, view: View, name: RepositoryName) -> None:
        self._view = view
        self._folders = [
            (folder, algorithm)
            for folder in (paths.layers(name), paths.revisions(name))
            for algorithm in HEX_LENGTHS
        ]

    def listed(self) -> _Names:
        """List each of them; anything may be called anything there."""
        return tuple(self._view.names("/".join(folder)) for folder in self._folders)

    def is_there(self, one: _Name) -> bool:
        """Tell whether there is a link."""
        return _is_link(self._view, self._link(one))

    def stored(self, some: Iterable[_Name]) -> Iterator[tuple[Digest, int]]:
        """Yield under which digest each of some is stored, and its size, if it is a member."""
        for one in some:
            at, hex = one
            try:
                digest = Digest.parse(f"{self._folders[at][1]}:{hex}")
            except DigestInvalid:
                continue
            yield from _stored(self._view, digest, self._link(one))

    def _link(self, one: _Name) -> str:
        at, hex = one
        return f"{'/'.join(self._folders[at])}/{hex}/{paths.LINK}"


def _split(listed: _Names, width: int) -> dict[str, _Names]:
    """Put names that begin alike together."""
    parts: defaultdict[str, _Names] = defaultdict(lambda: tuple([] for _ in listed))
    for at, names in enumerate(listed):
        for hex in names:
            parts[hex[:width]][at].append(hex)
    return parts


def _each(names: _Names) -> Iterator[_Name]:
    return ((at, hex) for at, some in enumerate(names) for hex in some)


def _hash(names: _Names) -> bytes:
    # No name has a slash, or is empty.
    text = "//".join("/".join(sorted(some)) for some in names)
    return hashlib.blake2b(os.fsencode(text), digest_size=32).digest()


def _stored(view: View, digest: Digest, link: str) -> Iterator[tuple[Digest, int]]:
    """Yield under which digest a member is stored, and its size; nothing without a member."""
    if not _is_link(view, link):
        return
    found = view.stat(paths.blob(digest))
    if found is None and digest.algorithm != CANONICAL:
        # distribution stores it under the sha256 of its bytes, and says so in the link.
        digest = read_link(view, link) or digest
        found = view.stat(paths.blob(digest))
    if found is not None:
        yield digest, found.size


def _is_link(view: View, link: str) -> bool:
    """Tell whether there is a link; an empty one is what a crash of an older registry left."""
    found = view.stat(link)
    return found is not None and found.size > 0
