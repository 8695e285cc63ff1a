"""The large bodies that are pushed and pulled, created once and shared by all servers."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.layout import Descriptor

PIECE_BYTES = 1 << 20
DOCKER_CHUNK_BYTES = 32 << 10
"""Docker uses Go's HTTP client, which sends chunked bodies in pieces of 32 KiB."""
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Body:
    """A file and the descriptor of its content."""

    file: Path
    blob: Descriptor


@dataclass(frozen=True, slots=True)
class Repeated:
    """Content that repeats one piece of `PIECE_BYTES`, so it is large but needs little memory."""

    piece: bytes
    blob: Descriptor

    @property
    def count(self) -> int:
        """The number of repetitions."""
        return self.blob.size // len(self.piece)

    def write(self, file: Path) -> Body:
        """Write the whole content to a file."""
        with file.open("wb") as out:
            for _ in range(self.count):
                out.write(self.piece)
        return Body(file, self.blob)


def repeated(count: int) -> Repeated:
    """Return content that repeats a random piece `count` times."""
    piece, digest = os.urandom(PIECE_BYTES), hashlib.sha256()
    for _ in range(count):
        digest.update(piece)
    return Repeated(piece, Descriptor(f"sha256:{digest.hexdigest()}", count * PIECE_BYTES))


def write_random(file: Path, size: int) -> Body:
    """Fill a file with `size` random bytes."""
    digest, left = hashlib.sha256(), size
    with file.open("wb") as out:
        while left:
            piece = os.urandom(min(left, PIECE_BYTES))
            digest.update(piece)
            left -= out.write(piece)
    return Body(file, Descriptor(f"sha256:{digest.hexdigest()}", size))


def framed(data: bytes) -> bytes:
    """Return the bytes in the framing of `Transfer-Encoding: chunked`, without the last chunk."""
    pieces = (
        data[begin : begin + DOCKER_CHUNK_BYTES]
        for begin in range(0, len(data), DOCKER_CHUNK_BYTES)
    )
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def write_chunked(source: Path, file: Path) -> Path:
    """Write `source` to `file` in the framing of `Transfer-Encoding: chunked`."""
    with source.open("rb") as data, file.open("wb") as out:
        while piece := data.read(PIECE_BYTES):
            out.write(framed(piece))
        out.write(LAST_CHUNK)
    return file


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the served, pushed and warm-up blobs; numbers of pieces of the repeated ones."""

    served: int
    pushed: int
    warmup: int
    chunks: int
    flat: int


class Material:
    """Files in one folder, each created at first use."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._sizes = sizes
        self._pushed: dict[int, Body] = {}

    @cached_property
    def served(self) -> Body:
        """The blob that is downloaded."""
        return write_random(self._folder / "served", self._sizes.served)

    @cached_property
    def warmup(self) -> Body:
        """A smaller blob that is pushed first and not measured."""
        return write_random(self._folder / "warmup", self._sizes.warmup)

    @cached_property
    def in_chunks(self) -> Repeated:
        """The blob that is pushed in many chunks, one piece in each."""
        return repeated(self._sizes.chunks)

    @cached_property
    def flat(self) -> Repeated:
        """The blob that many clients push and pull concurrently."""
        return repeated(self._sizes.flat)

    @cached_property
    def flat_file(self) -> Body:
        """The blob of `flat` as a file."""
        return self.flat.write(self._folder / "flat")

    def pushed(self, number: int = 0) -> Body:
        """Return one of the blobs that are pushed."""
        if number not in self._pushed:
            file = self._folder / f"pushed-{number}"
            self._pushed[number] = write_random(file, self._sizes.pushed)
        return self._pushed[number]

    def chunked(self, body: Body) -> Path:
        """Return the file with the chunked form of a body."""
        file = body.file.with_suffix(".chunked")
        return file if file.exists() else write_chunked(body.file, file)
