"""The floor of a push: the cost of hashing the bytes and copying them to disk with an fsync.

Debian's `sha256sum` does not use the processor's SHA instructions; OpenSSL, which Python's hashlib
calls, does. Both are measured: the first is the usual comparison, the second the lower bound.
"""

import hashlib
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import expect
from benchmarks.ground import level
from benchmarks.material import Body
from benchmarks.stage import GB


@dataclass(frozen=True, slots=True)
class Floor:
    """CPU seconds per GB: of `sha256sum`, of OpenSSL's SHA-256, and of a copy with an fsync."""

    sha256sum: float
    openssl: float
    copy: float

    def sums(self) -> dict[str, float]:
        """Return the cost of hashing plus copying, by a name for the table."""
        return {
            "sha256sum + copy": self.sha256sum + self.copy,
            "OpenSSL + copy": self.openssl + self.copy,
        }


def measure_floor(body: Body, target: Path) -> Floor:
    """Hash a body twice and copy it to `target`, which is removed afterwards."""
    gigabytes, before = body.blob.size / GB, _children_cpu()
    said = _output("sha256sum", str(body.file))
    hashed = _children_cpu()
    level(target.parent, body.blob.size)
    _output("dd", f"if={body.file}", f"of={target}", "bs=1M", "conv=fsync", "status=none")
    copied = _children_cpu()
    target.unlink()
    expect(f"sha256:{said.split()[0]}" == body.blob.digest, "sha256sum computed another digest")
    openssl = _openssl(body)
    return Floor((hashed - before) / gigabytes, openssl / gigabytes, (copied - hashed) / gigabytes)


def _openssl(body: Body) -> float:
    before = time.process_time()
    with body.file.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    expect(f"sha256:{actual}" == body.blob.digest, "hashlib computed another digest")
    return time.process_time() - before


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
