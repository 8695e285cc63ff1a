"""The whole command against the two real servers, as short as it can be."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.tools import require_tool, run

PROJECT = Path(__file__).resolve().parents[2]
BENCH = [sys.executable, "-m", "benchmarks", "--quick", "--rounds=1"]

pytestmark = [pytest.mark.live, pytest.mark.clients]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder that benchmarks write into, if what they need is installed."""
    for program in ("wrk", "docker-registry"):
        require_tool(program)
    written = tmp_path / "written"
    written.mkdir()
    return written


def serving(folder: Path) -> list[psutil.Process]:
    """Find the servers that were started on a configuration below the folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in argument for argument in process.info["cmdline"] or ())
        and "benchmarks" not in process.info["cmdline"]
    ]


def test_both_servers_are_measured_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    table = run([*BENCH, "--only=base,start", f"--folder={folder}", f"--json={found}"])
    figures = {figure["key"]: figure for figure in json.loads(found.read_text())["figures"]}
    assert set(figures) == {"base.rate", "base.cpu", "start"}
    assert all(figure["failures"] == [] for figure in figures.values())
    assert all(
        min(*figure["ours"], *figure["theirs"], *figure["ratios"]) > 0
        for figure in figures.values()
    )
    assert "| start to first answer" in table
    assert list(folder.iterdir()) == []
    assert serving(folder) == []


def test_an_interruption_stops_the_server_and_removes_the_folder(folder: Path) -> None:
    command = [*BENCH, "--only=base", f"--folder={folder}"]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert next(process.stderr).startswith("round 1")
        while not serving(folder):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 130
    assert list(folder.iterdir()) == []
    assert serving(folder) == []
