"""Collections, scrubs and `du` over trees of many blobs: what is reported, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks import crowd, maintenance
from benchmarks.__main__ import main
from benchmarks.errors import NotReady, WrongAnswer
from benchmarks.maintenance import Program, Run
from tests.support.tools import require_tool, run

FEW = 100


def test_a_collection_that_leaves_something_has_no_figure(tmp_path: Path) -> None:
    with pytest.raises(WrongAnswer, match="true left unreferenced blobs"):
        list(maintenance.measure(Program("true", ("true",)), tmp_path, [FEW]))
    assert not list(tmp_path.glob("root*"))


def test_a_command_that_fails_has_no_figure(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no room')")
    with pytest.raises(WrongAnswer, match="peer garbage-collect failed: no room"):
        list(maintenance.measure(Program("peer", command), tmp_path, [FEW]))


def test_a_folder_without_inodes_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disk:
        """What the filesystem says."""

        f_favail = 4_000_000

    monkeypatch.setattr("os.statvfs", lambda _: Disk)
    with pytest.raises(NotReady, match=r"4,000,000 inodes left, too few for 1,000,000 blobs"):
        next(maintenance.measure(Program("true", ("true",)), tmp_path, [1_000_000]))
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_is_seen_until_the_last_of_it_is_gone(tmp_path: Path) -> None:
    crowd.populate(tmp_path, FEW)
    assert not crowd.is_littered(tmp_path, FEW)
    before = set(tmp_path.rglob("data"))
    crowd.litter(tmp_path, FEW)
    left = set(tmp_path.rglob("data")) - before
    assert len(before) == FEW
    assert len(left) == FEW // crowd.BLOBS_PER_IMAGE
    for file in left:
        assert crowd.is_littered(tmp_path, FEW)
        file.unlink()
    assert not crowd.is_littered(tmp_path, FEW)


def test_cpu_is_told_per_blob() -> None:
    table = maintenance.text([Run("scrub", "registry-server", 20_000, 9.0, 4.0, 61_000_000)])
    cells = [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]
    assert cells == ["scrub", "registry-server", "20,000", "9.00", "4.00", "200", "61.0"]


def test_a_registry_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("wrk")
    require_tool("docker-registry")
    assert main(["--only=maintenance", "--registry=/no/such"]) == 2
    assert capsys.readouterr().err == "benchmarks: there is no program /no/such\n"


@pytest.mark.parametrize("blobs", ["0", "1000,x", ""])
def test_a_wrong_number_of_blobs_is_refused(blobs: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--blobs={blobs}"])
    assert ended.value.code == 2


@pytest.mark.live
@pytest.mark.clients
@pytest.mark.timeout(180)
def test_all_three_are_measured_beside_the_registry_that_is_named(tmp_path: Path) -> None:
    require_tool("wrk")
    named = tmp_path / "registry"
    named.symlink_to(require_tool("docker-registry"))
    found, folder = tmp_path / "found.json", tmp_path / "written"
    folder.mkdir()
    table = run(
        [
            *(sys.executable, "-m", "benchmarks", "--only=maintenance", "--rounds=1"),
            *(f"--blobs={FEW},{2 * FEW}", f"--registry={named}"),
            *(f"--folder={folder}", f"--json={found}"),
        ]
    )
    runs = json.loads(found.read_text())["maintenance"]
    tasks = ["garbage-collect", "garbage-collect", "scrub", "du"]
    assert [each["task"] for each in runs] == tasks * 2
    assert [each["blobs"] for each in runs] == [FEW] * 4 + [2 * FEW] * 4
    assert {each["program"].split()[0] for each in runs} == {"registry", "registry-server"}
    assert all(min(each["seconds"], each["cpu"], each["peak"]) > 0 for each in runs)
    assert "| garbage-collect | registry-server" in table
    assert os.listdir(folder) == []
