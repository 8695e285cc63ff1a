"""A digest: an algorithm and a hash in hex, as the OCI image spec defines it.

Digests with algorithms that this registry cannot verify are `DigestInvalid`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from storage.errors import DigestInvalid

CANONICAL = "sha256"
HEX_LENGTHS = {"sha256": 64, "sha512": 128}

_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of some content, `algorithm:hex`; parsed once, where it enters the program."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @staticmethod
    def parse(text: str) -> Digest:
        """Parse `text`; raise `DigestInvalid` for bad syntax and for unsupported algorithms."""
        return _parse(text)

    @staticmethod
    def of(content: bytes, algorithm: str = CANONICAL) -> Digest:
        """Hash `content`; raise `DigestInvalid` for an unsupported algorithm."""
        return Digest(supported(algorithm), hashlib.new(algorithm, content).hexdigest())

    @property
    def is_empty(self) -> bool:
        """Whether this is the digest of empty content."""
        return self == Digest.of(b"", self.algorithm)


def supported(algorithm: str) -> str:
    """Return `algorithm`, or raise `DigestInvalid` when it is unsupported."""
    if algorithm not in HEX_LENGTHS:
        known = " or ".join(sorted(HEX_LENGTHS))
        raise DigestInvalid(f"digest algorithm {algorithm[:40]!r} is not supported, use {known}")
    return algorithm


@lru_cache(maxsize=16_384)
def _parse(text: str) -> Digest:
    algorithm, colon, encoded = text.partition(":")
    if not colon or not algorithm:
        raise DigestInvalid(f"{text[:160]!r} is not a digest, expected algorithm:hex")
    supported(algorithm)
    if len(encoded) != HEX_LENGTHS[algorithm] or not _HEX.fullmatch(encoded):
        expected = f"{HEX_LENGTHS[algorithm]} lower-case hex digits"
        raise DigestInvalid(f"{text[:160]!r} is not a digest, {algorithm} has {expected}")
    return Digest(algorithm, encoded)
