"""The whole command against the two real servers, as short as it can be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.tools import require_tool, run

PROJECT = Path(__file__).resolve().parents[2]
BENCH = [sys.executable, "-m", "benchmarks", "--quick", "--rounds=1"]

pytestmark = [
    pytest.mark.benchmarks,
    pytest.mark.live,
    pytest.mark.clients,
    pytest.mark.timeout(180),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder that benchmarks write into, if what they need is installed."""
    for program in ("wrk", "docker-registry"):
        require_tool(program)
    written = tmp_path / "written"
    written.mkdir()
    return written


def serving(folder: Path) -> list[psutil.Process]:
    """Find the servers that write below the folder, whatever their command lines say."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "benchmarks" not in (process.info["cmdline"] or ()) and holds(process.pid, folder)
    ]


def holds(pid: int, folder: Path) -> bool:
    """Tell whether a process has a file below the folder open, even one that was removed."""
    try:
        links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False  # it has ended
    return any(link.startswith(f"{folder}/") for link in links)


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


def test_blobs_are_compared_with_nginx_and_targets_are_judged(folder: Path, tmp_path: Path) -> None:
    require_tool("nginx")
    found = tmp_path / "found.json"
    table = run([*BENCH, "--only=blobs", f"--folder={folder}", f"--json={found}"])
    document = json.loads(found.read_text())
    floors = {figure["key"]: figure["floors"] for figure in document["figures"]}
    assert floors.keys() >= {"blob.get.1.rate", "blob.get.8.cpu", "blob.head.cpu"}
    assert all(len(each["nginx"]) == 1 and each["nginx"][0] > 0 for each in floors.values())
    bounds = {target["must_reach"] for target in document["targets"]}
    assert {"at most 1.3 x nginx", "at most 0.6 x docker-registry"} <= bounds
    assert "| against the floor" in table
    assert "| target" in table
    assert document["notes"] == []
    assert serving(folder) == []


def test_chunks_and_memory_are_measured_on_both_servers(folder: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    run([*BENCH, "--only=chunks,flat", f"--folder={folder}", f"--json={found}"])
    figures = {figure["key"]: figure for figure in json.loads(found.read_text())["figures"]}
    assert {"chunks.same.cpu.growth", "chunks.new.time.growth", "flat.resident"} <= set(figures)
    assert all(figure["failures"] == [] for figure in figures.values())
    assert all(len(figure["ours"]) == len(figure["theirs"]) == 1 for figure in figures.values())
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
