"""The memory of a process and its children, as their container would be charged for it.

`python -m tests.support.footprint PID` prints it.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import family

_PAGE = os.sysconf("SC_PAGE_SIZE")
_ANONYMOUS = re.compile(r"^Pss_Anon:\s+([0-9]+) kB$", re.MULTILINE)
# A mapping: its addresses, its offset in the file, and the file: device and inode.
_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) (\S+ [1-9][0-9]*) ", re.MULTILINE)
# Bits of an entry in /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst of Linux.
_IS_PRESENT = 1 << 63
_IS_OF_FILE = 1 << 61


def anonymous_bytes(pid: int) -> int:
    """Return a process's share of the memory that belongs to no file."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) << 10 for size in _ANONYMOUS.findall(text))


def file_pages(pid: int) -> Iterator[tuple[str, int]]:
    """Yield the file and the number of each page of a file that a process has mapped."""
    with Path(f"/proc/{pid}/pagemap").open("rb") as pagemap:
        for start, end, offset, file in _MAPPING.findall(Path(f"/proc/{pid}/maps").read_text()):
            first, count = int(start, 16) // _PAGE, (int(end, 16) - int(start, 16)) // _PAGE
            pagemap.seek(first * 8)
            for at, (entry,) in enumerate(struct.iter_unpack("=Q", pagemap.read(count * 8))):
                if entry & _IS_PRESENT and entry & _IS_OF_FILE:
                    yield file, int(offset, 16) // _PAGE + at


def footprint(pid: int) -> int:
    """Return the bytes that a process and its children have in memory, each page counted once.

    This is what a container of their own would be charged for them. Pages of libraries count
    whole, whatever other processes of this machine have the same libraries mapped.
    """
    members = [member.pid for member in family(pid)]
    pages = {page for member in members for page in file_pages(member)}
    return sum(map(anonymous_bytes, members)) + len(pages) * _PAGE


if __name__ == "__main__":
    print(f"{footprint(int(sys.argv[1])) / 2**20:.1f} MiB")
