"""A collector finds the modules of its server, whatever the folder it is started in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from registry_server.jobs import schedule

_PROGRAM = """
import http.client
import registry_server.jobs.collector
print(http.client.__file__)
"""


def test_a_collector_imports_our_modules_and_the_standard_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its PYTHONPATH has the folder that contains our packages, and no package of ours itself.

    Otherwise `registry_server/http` would hide the standard library's `http`.
    """
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=tmp_path,
        env=schedule._environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "registry_server" not in done.stdout.strip()
