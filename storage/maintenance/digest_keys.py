"""Digests as bytes for a database, half as long as their text and in the same order."""

from __future__ import annotations

from collections.abc import Iterator

from storage.values.digest import HEX_LENGTHS, Digest

_ALGORITHMS = sorted(HEX_LENGTHS)


def key_of(digest: Digest) -> bytes:
    """Return a digest as bytes, which sort as its text does."""
    return bytes((_ALGORITHMS.index(digest.algorithm),)) + bytes.fromhex(digest.hex)


def digest_of(key: bytes) -> Digest:
    """Return the digest of a `key` from `key_of`."""
    return Digest(_ALGORITHMS[key[0]], key[1:].hex())


def digests_of(keys: bytes) -> Iterator[Digest]:
    """Yield the digests of concatenated keys."""
    while keys:
        end = 1 + HEX_LENGTHS[_ALGORITHMS[keys[0]]] // 2
        yield digest_of(keys[:end])
        keys = keys[end:]
