"""Programs that tests drive; without the program the test is visibly skipped.

With REGISTRY_TESTS_REQUIRE_CLIENTS=1 (what continuous integration sets) an absent
program fails the test, so a green run there means that every client was driven.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.secrets import nothing_told

REQUIRE_VARIABLE = "REGISTRY_TESTS_REQUIRE_CLIENTS"
_SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def require_tool(name: str) -> str:
    """Return the path of a program; skip, or fail where clients are required, without it."""
    path = shutil.which(name, path=_SEARCH)
    if path is None:
        _absent(f"{name} is not installed")
    return path


def require_packages(folders: Iterable[Path]) -> None:
    """Skip, or fail where clients are required, unless `make` has installed these packages."""
    for folder in folders:
        if not folder.is_dir():
            _absent(f"{folder.name} is not installed")


def require_root() -> None:
    """Skip, or fail where clients are required, unless the user is root."""
    if os.geteuid() != 0:
        _absent("needs root")


def require_namespaces() -> None:
    """Skip, or fail where clients are required, unless networks and mounts can be set apart."""
    require_root()
    command = [require_tool("unshare"), "--net", "--mount", "true"]
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
        _absent("may not make namespaces")


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    status: int = 0,
) -> str:
    """Run a program without input and return what it printed on standard output.

    `env` is added to the environment; `timeout` is in seconds. Fails, with all that was
    printed, when the exit code is not `status`, and when it prints a secret.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PATH": _SEARCH, **(env or {})},
    )
    report = f"{command} exited {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == status, report
    nothing_told(done.stdout + done.stderr, command[0])
    return done.stdout


def _absent(reason: str) -> NoReturn:
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(f"{reason}, and {REQUIRE_VARIABLE}=1 says it must be here")
    pytest.skip(reason)
