"""The large bodies that are sent and served, made once and shared by all servers."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.layout import Descriptor

PIECE_BYTES = 1 << 20
DOCKER_CHUNK_BYTES = 32 << 10
"""Docker's client is Go's, whose chunked bodies are copied in pieces of 32 KiB."""
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Body:
    """A file and what a registry calls its content."""

    file: Path
    blob: Descriptor


@dataclass(frozen=True, slots=True)
class Repeated:
    """A content that is one piece of `PIECE_BYTES` some times over: long, and held in little."""

    piece: bytes
    blob: Descriptor

    @property
    def count(self) -> int:
        """How many times the piece is repeated."""
        return self.blob.size // len(self.piece)

    def write(self, file: Path) -> Body:
        """Write the whole content to a file."""
        with file.open("wb") as out:
            for _ in range(self.count):
                out.write(self.piece)
        return Body(file, self.blob)


def repeated(count: int) -> Repeated:
    """Return a random piece to be repeated `count` times."""
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
    """Return the bytes as `Transfer-Encoding: chunked` puts them on the wire, but for the end."""
    pieces = (
        data[begin : begin + DOCKER_CHUNK_BYTES]
        for begin in range(0, len(data), DOCKER_CHUNK_BYTES)
    )
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def write_chunked(source: Path, file: Path) -> Path:
    """Write the bytes that `Transfer-Encoding: chunked` puts on the wire for `source`."""
    with source.open("rb") as data, file.open("wb") as out:
        while piece := data.read(PIECE_BYTES):
            out.write(framed(piece))
        out.write(LAST_CHUNK)
    return file


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of what is served, pushed, and pushed first to warm up; repetitions of a piece."""

    served: int
    pushed: int
    warmup: int
    chunks: int
    flat: int


class Material:
    """Files in one folder, each made when it is first wanted."""

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
        """A smaller blob that is pushed first and not counted."""
        return write_random(self._folder / "warmup", self._sizes.warmup)

    @cached_property
    def in_chunks(self) -> Repeated:
        """The blob that is pushed in many chunks, one piece in each."""
        return repeated(self._sizes.chunks)

    @cached_property
    def flat(self) -> Repeated:
        """The blob that many clients push and pull at the same time."""
        return repeated(self._sizes.flat)

    @cached_property
    def flat_file(self) -> Body:
        """The same as a file."""
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
