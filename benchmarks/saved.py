"""Saves results in a folder beside this file, which git ignores."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

FOLDER = Path(__file__).parent / "results"


def default_file(started: datetime, commit: str, *, is_quick: bool) -> Path:
    """Return the file of a run, named by its start time and the measured commit."""
    parts = [f"{started:%Y-%m-%d-%H%M%S}", commit or "unknown", *(["quick"] if is_quick else [])]
    return FOLDER / f"{'-'.join(parts)}.json"


def write(file: Path, document: Mapping[str, object]) -> None:
    """Write a result file; create its folder if necessary."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")
