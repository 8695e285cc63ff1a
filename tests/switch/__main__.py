"""Regenerates `differences.yaml` from both servers, with the reasons that still apply."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.switch.cases import cases
from tests.switch.differences import differences, load, regenerate, save
from tests.switch.observations import observe_all


def main() -> int:
    """Query both servers, write the file, and print how many differences have no reason yet."""
    with tempfile.TemporaryDirectory(prefix="switch-") as folder:
        found = list(differences(observe_all(cases(), Path(folder))))
    entries = regenerate(found, load())
    save(entries)
    without = sum(not entry.reason for entry in entries)
    print(f"{len(entries)} differences, {without} of them without a reason")
    return 1 if without else 0


if __name__ == "__main__":
    sys.exit(main())
