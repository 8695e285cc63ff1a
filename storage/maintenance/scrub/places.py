"""What a scrub keeps for itself beside `docker/`. All of it can be deleted while none runs."""

from __future__ import annotations

from storage.digest import Digest
from storage.paths import OURS

# How far the last scrub came, if it did not come to its end.
POSITION = f"{OURS}/scrub.json"
_QUARANTINE = f"{OURS}/quarantine"


def quarantined(digest: Digest) -> str:
    """Return where bytes are put that lay under `digest` and are not what it names."""
    return f"{_QUARANTINE}/{digest.algorithm}/{digest.hex}"


def set_aside(path: str) -> str:
    """Return where a folder is put that lay in the place of the link at `path`."""
    return f"{_QUARANTINE}/{path}"
