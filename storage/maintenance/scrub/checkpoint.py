"""The progress of a scrub: what it has done and found, saved every few seconds."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from storage.drivers.base import Driver
from storage.errors import StorageError, raise_if_exhausted
from storage.maintenance.scrub.findings import Finding, Kind, read_finding, shown
from storage.values.digest import Digest
from storage.values.paths import SCRUBBED

# Seconds after which an interrupted scrub is not continued: its first checks are too old.
OLDEST = 7 * 86400.0
_VERSION = 1
_MOST_FINDINGS = 1000
_LONGEST = 4 << 20


class Stage(Enum):
    """The stage of a scrub; `Checkpoint.after` is a digest, then a repository's name."""

    BLOBS = "blobs"
    REPOSITORIES = "repositories"


@dataclass(slots=True)
class Checkpoint:
    """The progress of a scrub, across interruptions.

    Everything up to and including `after` is done. `size` is in bytes. All findings are counted,
    by kind and whether they were repaired; the first thousand are kept.
    """

    repairs: bool
    stage: Stage = Stage.BLOBS
    after: str = ""
    blobs: int = 0
    size: int = 0
    repositories: int = 0
    counts: Counter[tuple[Kind, bool]] = field(default_factory=Counter)
    findings: dict[tuple[str, ...], Finding] = field(default_factory=dict)
    continued_from: str = ""

    def add(self, finding: Finding) -> bool:
        """Record a finding; return False if it was recorded before an interruption."""
        # The printable form, because the saved findings are in that form.
        key = (finding.kind.value, shown(finding.path), shown(finding.what))
        if key in self.findings and not self.findings[key].repaired:
            return False
        self.counts[finding.kind, finding.repaired] += 1
        if len(self.findings) < _MOST_FINDINGS:
            self.findings[key] = finding
        return True

    @property
    def position(self) -> str:
        """The progress in words."""
        return f"{self.stage.value} after {self.after}" if self.after else self.stage.value

    async def save(self, driver: Driver) -> None:
        """Save the progress, for `read_checkpoint`."""
        document = {
            "version": _VERSION,
            "noted": time.time(),
            "repairs": self.repairs,
            "stage": self.stage.value,
            "after": self.after,
            "blobs": self.blobs,
            "size": self.size,
            "repositories": self.repositories,
            "counts": [[kind.value, mended, n] for (kind, mended), n in self.counts.items()],
            "findings": [finding.document() for finding in self.findings.values()],
        }
        await driver.write_unsynced(SCRUBBED, json.dumps(document).encode())


async def read_checkpoint(driver: Driver, *, repairs: bool) -> Checkpoint | None:
    """Return the progress of an interrupted scrub, if it can be continued.

    A scrub that repairs does not continue one that does not, because that left damage unrepaired.
    Raises OSError if file descriptors or memory are exhausted.
    """
    try:
        document = json.loads(await driver.read(SCRUBBED, _LONGEST))
        checkpoint = _parse(document)
        is_recent = abs(time.time() - float(document["noted"])) < OLDEST
    except OSError as error:
        raise_if_exhausted(error)
        return None
    except (StorageError, ValueError, KeyError, TypeError):
        return None
    return checkpoint if is_recent and (checkpoint.repairs or not repairs) else None


def _parse(document: Mapping[str, Any]) -> Checkpoint:
    if document["version"] != _VERSION:
        raise ValueError("of another version")
    checkpoint = Checkpoint(
        repairs=bool(document["repairs"]),
        stage=Stage(document["stage"]),
        after=str(document["after"]),
        blobs=int(document["blobs"]),
        size=int(document["size"]),
        repositories=int(document["repositories"]),
    )
    if checkpoint.after and checkpoint.stage is Stage.BLOBS:
        Digest.parse(checkpoint.after)
    for finding in map(read_finding, document["findings"]):
        checkpoint.add(finding)
    checkpoint.counts = Counter(
        {(Kind(k), bool(mended)): int(n) for k, mended, n in document["counts"]}
    )
    checkpoint.continued_from = checkpoint.position
    return checkpoint
