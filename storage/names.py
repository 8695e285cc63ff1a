"""Names, tags, references and upload ids by the grammar of the distribution spec, "Pulling
manifests". Each is parsed once, at the edge; past it nothing is a bare string.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from storage.digest import Digest
from storage.errors import NameInvalid, TagInvalid, UploadIdInvalid

# Longer names do not fit the path limits of clients that put a host name in front.
NAME_LIMIT = 255

# A component never starts with "_", which is what keeps `_layers` and its siblings apart from
# repositories that lie below, and never is "." or "..", which keeps every path inside the root.
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_OWNED = 8
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class RepositoryName:
    """`library/app`: one or more components joined by slashes."""

    text: str

    def __str__(self) -> str:
        return self.text

    @staticmethod
    def parse(text: str) -> RepositoryName:
        """Read `text`, or raise `NameInvalid`."""
        return _parse_name(text)


@lru_cache(maxsize=4096)
def _parse_name(text: str) -> RepositoryName:
    if len(text) > NAME_LIMIT:
        raise NameInvalid(f"a repository name has at most {NAME_LIMIT} characters")
    if not all(map(is_component, text.split("/"))):
        raise NameInvalid(f"{text!r} is not a repository name")
    return RepositoryName(text)


def is_component(text: str) -> bool:
    """Whether `text` may stand between two slashes of a repository name."""
    return _COMPONENT.fullmatch(text) is not None


class Tag(str):
    """A name for a manifest within a repository.

    A string of its own type rather than a record with one: a listing makes ten thousand of them.
    """

    __slots__ = ()

    @property
    def text(self) -> str:
        """The tag as a bare string."""
        return str(self)

    @staticmethod
    def parse(text: str) -> Tag:
        """Read `text`, or raise `TagInvalid`."""
        if not is_tag(text):
            raise TagInvalid(f"{text[:160]!r} is not a tag")
        return Tag(text)


def is_tag(text: str) -> bool:
    """Whether `text` follows the grammar of tags; also asked of names found on disk."""
    return _TAG.fullmatch(text) is not None


def only_tags(names: Iterable[str]) -> Iterator[str]:
    """Yield those names that follow the grammar of tags, looking at no more than are asked for."""
    return filter(_TAG.fullmatch, names)


Reference: TypeAlias = Tag | Digest


def parse_reference(text: str) -> Reference:
    """Read a tag or a digest; no tag has a colon, so that tells which error is the right one."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)


@dataclass(frozen=True, slots=True)
class UploadId:
    """The name of an upload session: a UUID in its canonical lower-case form.

    One of version 8 (RFC 9562, 5.8) says whose the session is, so that nothing needs to be kept to
    know it: its second half is a mark of the first one and the owner's name. Others are anybody's;
    registries that ask nobody make such ones, and CNCF distribution.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @staticmethod
    def parse(text: str) -> UploadId:
        """Read `text`, or raise `UploadIdInvalid`."""
        if not _UUID.fullmatch(text):
            raise UploadIdInvalid(f"{text[:160]!r} is not an upload id")
        return UploadId(text)

    @staticmethod
    def new(owner: str = "") -> UploadId:
        """Draw a random one, which is `owner`'s; anybody's without one."""
        if not owner:
            return UploadId(str(uuid.uuid4()))
        return _owned(secrets.token_bytes(8), owner)

    def is_of(self, name: str) -> bool:
        """Tell whether who has that name, "" for nobody, may go on with the session."""
        made = uuid.UUID(self.text)
        return made.version != _OWNED or (bool(name) and _owned(made.bytes[:8], name) == self)


def _owned(drawn: bytes, owner: str) -> UploadId:
    half = bytearray(drawn)
    half[6] = half[6] & 0x0F | _OWNED << 4
    # A name may come from a token, whose JSON can hold what is no text.
    name = owner.encode(errors="surrogatepass")
    mark = bytearray(hashlib.sha256(half + name).digest()[:8])
    mark[0] = mark[0] & 0x3F | 0x80  # the variant: without it nobody looks at the version
    return UploadId(str(uuid.UUID(bytes=bytes(half + mark))))
