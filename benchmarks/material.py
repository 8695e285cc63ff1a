"""The large bodies that are sent and served, made once and shared by both servers."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.layout import Descriptor

PIECE_BYTES = 1 << 20
DOCKER_CHUNK_BYTES = 32 << 10
"""Docker's client is Go's, whose chunked bodies are copied in pieces of 32 KiB."""


@dataclass(frozen=True, slots=True)
class Body:
    """A file of random bytes and what a registry calls it."""

    file: Path
    blob: Descriptor


def write_random(file: Path, size: int) -> Body:
    """Fill a file with `size` random bytes."""
    digest, left = hashlib.sha256(), size
    with file.open("wb") as out:
        while left:
            piece = os.urandom(min(left, PIECE_BYTES))
            digest.update(piece)
            left -= out.write(piece)
    return Body(file, Descriptor(f"sha256:{digest.hexdigest()}", size))


def write_chunked(source: Path, file: Path) -> Path:
    """Write the bytes that `Transfer-Encoding: chunked` puts on the wire for `source`."""
    with source.open("rb") as data, file.open("wb") as out:
        while piece := data.read(DOCKER_CHUNK_BYTES):
            out.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        out.write(b"0\r\n\r\n")
    return file


class Material:
    """Files in one folder, each made when it is first wanted; sizes in bytes."""

    def __init__(
        self, folder: Path, served_bytes: int, pushed_bytes: int, warmup_bytes: int
    ) -> None:
        self._folder = folder
        self._served_bytes = served_bytes
        self._pushed_bytes = pushed_bytes
        self._warmup_bytes = warmup_bytes

    @cached_property
    def served(self) -> Body:
        """The blob that is downloaded."""
        return write_random(self._folder / "served", self._served_bytes)

    @cached_property
    def pushed(self) -> Body:
        """The blob that is pushed."""
        return write_random(self._folder / "pushed", self._pushed_bytes)

    @cached_property
    def warmup(self) -> Body:
        """A smaller blob that is pushed first and not counted."""
        return write_random(self._folder / "warmup", self._warmup_bytes)

    def chunked(self, body: Body) -> Path:
        """Return the file with the chunked form of a body."""
        file = body.file.with_suffix(".chunked")
        return file if file.exists() else write_chunked(body.file, file)
