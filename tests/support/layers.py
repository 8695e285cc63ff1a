"""Layers made here: tar files with the content a test wants, the same bytes every time."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

MIB = 1024 * 1024

# The tar of nothing: two zero blocks. Docker's builder makes this layer for steps
# that change no file, and Docker Engine knows it by its digest.
EMPTY_TAR = bytes(1024)


def noise(mebibytes: int, seed: int) -> Iterator[bytes]:
    """Yield MiB blocks that gzip cannot shrink and that all differ.

    One random block is repeated behind a counter: gzip looks back 32 KiB only, so it finds
    no repetition, and making 300 of them costs no more than copying them.
    """
    block = random.Random(seed).randbytes(MIB - 8)
    for number in range(mebibytes):
        yield number.to_bytes(8, "big") + block


def write_noise(path: Path, mebibytes: int, seed: int) -> Path:
    """Write that many MiB of noise to a file and return its path."""
    with path.open("wb") as file:
        file.writelines(noise(mebibytes, seed))
    return path


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Return a tar of these files; equal input gives equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            add(archive, name, len(content), io.BytesIO(content))
    return buffer.getvalue()


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a tar of these files (of nothing: the empty layer) and return its path."""
    path.write_bytes(tar_of(files) if files else EMPTY_TAR)
    return path


def write_big_tar(path: Path, mebibytes: int, seed: int) -> Path:
    """Write a tar with one incompressible file and return its path."""
    content = write_noise(path.with_suffix(".noise"), mebibytes, seed)
    with (
        tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive,
        content.open("rb") as file,
    ):
        add(archive, "noise", mebibytes * MIB, file)
    content.unlink()
    return path


def compressed(content: bytes) -> bytes:
    """Return gzip of `content`; equal input gives equal bytes."""
    return gzip.compress(content, compresslevel=1, mtime=0)


def add(archive: tarfile.TarFile, name: str, size: int, content: io.BufferedIOBase) -> None:
    """Add a member whose only facts are name, size and content."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    archive.addfile(member, content)
