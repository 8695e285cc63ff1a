"""Repository names, tags, references and upload ids.

They follow the grammar of the distribution spec, "Pulling manifests". Each is parsed once, where it
enters the program; past that point none is a bare string.
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

from storage.errors import NameInvalid, TagInvalid, UploadIdInvalid
from storage.values.digest import Digest

# Longer names exceed the limits of clients, which put a host name in front.
NAME_LIMIT = 255

# A component never starts with "_", so no nested repository collides with `_layers` and the like,
# and is never "." or "..", so every path stays inside the root.
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
_OWNED = 8
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class RepositoryName:
    """A repository name such as `library/app`: one or more components joined by slashes."""

    text: str

    def __str__(self) -> str:
        return self.text

    @staticmethod
    def parse(text: str) -> RepositoryName:
        """Parse `text`; raise `NameInvalid`."""
        return _parse_name(text)


@lru_cache(maxsize=4096)
def _parse_name(text: str) -> RepositoryName:
    if len(text) > NAME_LIMIT:
        raise NameInvalid(f"a repository name has at most {NAME_LIMIT} characters")
    if not all(map(is_component, text.split("/"))):
        raise NameInvalid(f"{text!r} is not a repository name")
    return RepositoryName(text)


def is_component(text: str) -> bool:
    """Return whether `text` is a valid component of a repository name."""
    return _COMPONENT.fullmatch(text) is not None


class Tag(str):
    """A name for a manifest within a repository.

    A subclass of str rather than a record: a listing makes ten thousand of them.
    """

    __slots__ = ()

    @property
    def text(self) -> str:
        """The tag as a plain string."""
        return str(self)

    @staticmethod
    def parse(text: str) -> Tag:
        """Parse `text`; raise `TagInvalid`."""
        if not is_tag(text):
            raise TagInvalid(f"{text[:160]!r} is not a tag")
        return Tag(text)


def is_tag(text: str) -> bool:
    """Return whether `text` follows the grammar of tags."""
    return _TAG.fullmatch(text) is not None


def only_tags(names: Iterable[str]) -> Iterator[str]:
    """Yield those of `names` that follow the grammar of tags, lazily."""
    return filter(_TAG.fullmatch, names)


Reference: TypeAlias = Tag | Digest


def parse_reference(text: str) -> Reference:
    """Parse a tag, or a digest if `text` has a colon; raise `TagInvalid` or `DigestInvalid`."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)


@dataclass(frozen=True, slots=True)
class UploadId:
    """The id of an upload session: a UUID in its canonical lower-case form.

    An id of version 8 (RFC 9562, 5.8) belongs to one owner: its second half is a hash of the first
    half and the owner's name, so the owner need not be stored. Ids of other versions belong to all
    callers; CNCF distribution and registries without access control create these.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @staticmethod
    def parse(text: str) -> UploadId:
        """Parse `text`; raise `UploadIdInvalid`."""
        if not _UUID.fullmatch(text):
            raise UploadIdInvalid(f"{text[:160]!r} is not an upload id")
        return UploadId(text)

    @staticmethod
    def new(owner: str = "") -> UploadId:
        """Return a random id that belongs to `owner`; without an owner, to all callers."""
        if not owner:
            return UploadId(str(uuid.uuid4()))
        return _owned(secrets.token_bytes(8), owner)

    def belongs_to(self, name: str) -> bool:
        """Return whether the caller `name`, "" when anonymous, may use the session."""
        parsed = uuid.UUID(self.text)
        return parsed.version != _OWNED or (bool(name) and _owned(parsed.bytes[:8], name) == self)


def _owned(random_bytes: bytes, owner: str) -> UploadId:
    half = bytearray(random_bytes)
    half[6] = half[6] & 0x0F | _OWNED << 4
    # A name may come from a token, whose JSON can hold lone surrogates.
    name = owner.encode(errors="surrogatepass")
    owner_hash = bytearray(hashlib.sha256(half + name).digest()[:8])
    owner_hash[0] = owner_hash[0] & 0x3F | 0x80  # the variant, without which a version is ignored
    return UploadId(str(uuid.UUID(bytes=bytes(half + owner_hash))))
