"""Read-only volumes (by mount or by owner), and folders on two filesystems."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from tests.support.tools import require_namespaces, require_root, require_tool

USER = 65534  # owns nothing, on most systems

# From a command and a root to the command for which the root can only be read.
Restriction: TypeAlias = Callable[[Sequence[str], Path], list[str]]

_MOUNT = 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"; exec "$@"'


def mounted_read_only(command: Sequence[str], root: Path) -> list[str]:
    """Return the command in a mount namespace of its own, in which `root` is read-only."""
    require_namespaces()
    return [require_tool("unshare"), "--mount", "sh", "-ec", _MOUNT, str(root), *command]


def mounted_apart(command: Sequence[str], folder: Path) -> list[str]:
    """Return the command in a mount namespace of its own, in which `folder` is a mount.

    Nothing can be renamed into it or out of it (EXDEV), as between two filesystems.
    """
    require_namespaces()
    mount = 'mount --bind "$0" "$0"; exec "$@"'
    return [require_tool("unshare"), "--mount", "sh", "-ec", mount, str(folder), *command]


def as_another_user(command: Sequence[str], root: Path) -> list[str]:
    """Return the command as a user that owns nothing below `root`.

    The user may read everything, since the interpreter may lie where only root reads.
    """
    require_root()
    user = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    os.chmod(root, 0o755)
    return [require_tool("setpriv"), *user, *may_read, "--", *command]
