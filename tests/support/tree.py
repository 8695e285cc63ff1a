"""The files under a registry's root, as a value to compare two servers by."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

FOLDER = "/"
LAYOUT = Path("docker/registry/v2")


def snapshot(root: Path) -> dict[str, str]:
    """Map each path under the layout's folder to its content.

    Folders map to "/", links and other short text to their text, `data` files to
    their size and sha256, so that a difference can be read in a failed assertion.
    """
    top = root / LAYOUT
    found: dict[str, str] = {}
    for folder, _, files in os.walk(top):
        found[_relative(Path(folder), top)] = FOLDER
        for file in files:
            path = Path(folder, file)
            found[_relative(path, top)] = _describe(path)
    return found


def without(tree: dict[str, str], folder: str) -> dict[str, str]:
    """Drop every path that has a component named `folder`."""
    return {path: what for path, what in tree.items() if folder not in path.split("/")}


def _relative(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix()


def _describe(path: Path) -> str:
    content = path.read_bytes()
    if path.name == "data":
        return f"{len(content)} bytes sha256:{hashlib.sha256(content).hexdigest()}"
    return repr(content)
