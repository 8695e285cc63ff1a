"""Hash functions whose state can be saved, and restored by another process.

An upload of many gigabytes may be finished by another worker, after a restart, or by CNCF
distribution on the same folder; none of them should have to read those gigabytes again.
distribution saves the state of its hash function in the encoding of Go's `crypto` packages:

    sha256, 108 bytes: "sha\\x03"  8 state words of 4 bytes   64-byte block, zero-padded   length
    sha512, 204 bytes: "sha\\x07"  8 state words of 8 bytes  128-byte block, zero-padded   length

all integers big-endian, the length in bytes and 8 bytes wide. Python's hashlib cannot export its
state, but the libcrypto it is linked with can: its low-level contexts are plain structs (declared
in <openssl/sha.h>, stable since 0.9.8). They are deprecated, not removed, and as fast as hashlib.
Nothing checks a struct's layout at run time, so `best_hashers` compares the library's results with
hashlib's before it uses it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from storage.values.buffers import Buffer
from storage.values.digest import HEX_LENGTHS, Digest

logger = logging.getLogger(__name__)


class Hasher(Protocol):
    """A running hash over the first `length` bytes of some content."""

    algorithm: str
    length: int

    def update(self, data: Buffer) -> None:
        """Hash `data`; releases the GIL, so it can run in parallel with the event loop."""

    def digest(self) -> Digest:
        """Return the digest of everything hashed so far; `update` may be called afterwards."""

    def state(self) -> bytes | None:
        """Export the state in Go's encoding; None where that is impossible."""


class Hashers(Protocol):
    """A factory of hashers."""

    def new(self, algorithm: str) -> Hasher:
        """Return a hasher over zero bytes; `algorithm` must be supported."""

    def restore(self, algorithm: str, state: bytes) -> Hasher | None:
        """Restore an exported state; None when it is malformed or restoring is impossible."""


class PlainHasher:
    """A hasher of hashlib: correct on every system, but unable to export its state."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.length = 0
        self._hash = hashlib.new(algorithm)

    def update(self, data: Buffer) -> None:
        self._hash.update(data)
        self.length += len(data)

    def digest(self) -> Digest:
        return Digest(self.algorithm, self._hash.hexdigest())

    def state(self) -> None:
        """Return None: hashlib cannot export its state."""


class PlainHashers:
    """The fallback: an interrupted upload is read again when it is committed."""

    def new(self, algorithm: str) -> Hasher:
        return PlainHasher(algorithm)

    def restore(self, algorithm: str, state: bytes) -> None:
        """Return None: hashlib cannot restore a state."""


class _Sha256Context(ctypes.Structure):
    _fields_ = (
        ("words", ctypes.c_uint32 * 8),
        ("bits_low", ctypes.c_uint32),
        ("bits_high", ctypes.c_uint32),
        ("block", ctypes.c_ubyte * 64),
        ("pending", ctypes.c_uint),
        ("digest_size", ctypes.c_uint),
    )


class _Sha512Context(ctypes.Structure):
    _fields_ = (
        ("words", ctypes.c_uint64 * 8),
        ("bits_low", ctypes.c_uint64),
        ("bits_high", ctypes.c_uint64),
        ("block", ctypes.c_ubyte * 128),
        ("pending", ctypes.c_uint),
        ("digest_size", ctypes.c_uint),
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of an algorithm's state in libcrypto's struct and in Go's encoding."""

    function: str
    context: type[_Sha256Context] | type[_Sha512Context]
    magic: bytes
    encoding: struct.Struct
    word_bits: int
    block_size: int


_LAYOUTS = {
    "sha256": _Layout("SHA256", _Sha256Context, b"sha\x03", struct.Struct(">4s8I64sQ"), 32, 64),
    "sha512": _Layout("SHA512", _Sha512Context, b"sha\x07", struct.Struct(">4s8Q128sQ"), 64, 128),
}


class LibcryptoHasher:
    """A hasher over a libcrypto context, whose state can be read and written."""

    def __init__(self, library: ctypes.CDLL, algorithm: str) -> None:
        self.algorithm = algorithm
        self.length = 0
        self._layout = _LAYOUTS[algorithm]
        self._update = getattr(library, f"{self._layout.function}_Update")
        self._final = getattr(library, f"{self._layout.function}_Final")
        self._context: Any = self._layout.context()
        getattr(library, f"{self._layout.function}_Init")(ctypes.byref(self._context))

    def update(self, data: Buffer) -> None:
        if isinstance(data, memoryview) and data.readonly:
            data = data.tobytes()  # ctypes takes no pointer to read-only memory
        if data:
            start = data if isinstance(data, bytes) else ctypes.byref(_first_byte(data))
            # ctypes releases the GIL during the call.
            self._update(ctypes.byref(self._context), start, ctypes.c_size_t(len(data)))
            self.length += len(data)

    def digest(self) -> Digest:
        # On a copy: finalizing overwrites a context.
        copy = self._layout.context.from_buffer_copy(self._context)
        out = ctypes.create_string_buffer(HEX_LENGTHS[self.algorithm] // 2)
        self._final(out, ctypes.byref(copy))
        return Digest(self.algorithm, out.raw.hex())

    def state(self) -> bytes:
        layout, context = self._layout, self._context
        block = bytes(context.block)[: context.pending]
        return layout.encoding.pack(layout.magic, *context.words, block, self.length)

    def load(self, state: bytes) -> bool:
        """Replace the state with an exported one; return False, unchanged, if it is malformed."""
        layout, context = self._layout, self._context
        if len(state) != layout.encoding.size or not state.startswith(layout.magic):
            return False
        _, *words, block, length = layout.encoding.unpack(state)
        context.words[:] = words
        context.block[:] = block
        context.pending = length % layout.block_size
        context.bits_low = (length << 3) & ((1 << layout.word_bits) - 1)
        context.bits_high = (length << 3) >> layout.word_bits
        self.length = length
        return True


def _first_byte(data: bytearray | memoryview) -> ctypes.c_char:
    """Return a pointer to `data` that keeps it from moving; a memoryview must be writable."""
    return ctypes.c_char.from_buffer(data)


class LibcryptoHashers:
    """A factory of hashers over a libcrypto."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def new(self, algorithm: str) -> Hasher:
        return LibcryptoHasher(self._library, algorithm)

    def restore(self, algorithm: str, state: bytes) -> Hasher | None:
        hasher = LibcryptoHasher(self._library, algorithm)
        return hasher if hasher.load(state) else None


@lru_cache(maxsize=1)
def best_hashers() -> Hashers:
    """Return hashers that can export their state, or log once that this process has none."""
    for name in _candidates():
        try:
            hashers = LibcryptoHashers(ctypes.CDLL(name))
            if all(_agrees_with_hashlib(hashers, algorithm) for algorithm in _LAYOUTS):
                return hashers
        except (OSError, AttributeError):
            continue
    logger.warning(
        "no usable libcrypto found: interrupted uploads are read again when they are committed"
    )
    return PlainHashers()


def _candidates() -> list[str | None]:
    """Return the libcrypto libraries to try: first those this process has mapped, by path."""
    try:
        mapped = {
            line.split(maxsplit=5)[5]
            for line in Path("/proc/self/maps").read_text().splitlines()
            if "/libcrypto" in line
        }
    except (OSError, IndexError):
        mapped = set()
    return [*sorted(mapped), "libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.3.dylib", None]


def _agrees_with_hashlib(hashers: LibcryptoHashers, algorithm: str) -> bool:
    """Export a state within a block, restore it, hash on, and compare with hashlib."""
    first, second = bytes(range(200)), bytes(range(100, 255)) * 3
    before = hashers.new(algorithm)
    before.update(first)
    after = hashers.restore(algorithm, before.state() or b"")
    if after is None:
        return False
    after.update(bytearray(second))
    same_prefix = before.digest() == Digest.of(first, algorithm)
    return same_prefix and after.digest() == Digest.of(first + second, algorithm)
