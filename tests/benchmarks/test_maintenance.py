"""Collections, scrubs and `du` over trees of many blobs: what is reported, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import crowd, maintenance, room
from benchmarks.__main__ import main
from benchmarks.errors import NotReady, WrongAnswer
from benchmarks.maintenance import Program, Run
from tests.support.tools import require_tool, run

FEW = 100


def test_a_collection_that_leaves_unreferenced_blobs_has_no_figure(tmp_path: Path) -> None:
    with pytest.raises(WrongAnswer, match="true left unreferenced blobs"):
        list(maintenance.measure(Program("true", ("true",)), tmp_path, [FEW]))
    assert not list(tmp_path.glob("root*"))


def test_a_command_that_fails_has_no_figure(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no room')")
    with pytest.raises(WrongAnswer, match="peer garbage-collect failed: no room"):
        list(maintenance.measure(Program("peer", command), tmp_path, [FEW]))


def volume(
    patch: pytest.MonkeyPatch, inodes: int = 50_000_000, size: int = 10**12, files: int = 10**9
) -> None:
    """Have every filesystem tell that so many inodes and bytes are free."""
    disk = SimpleNamespace(f_favail=inodes, f_files=files, f_bavail=size // 4096, f_frsize=4096)
    patch.setattr("os.statvfs", lambda _: disk)


@pytest.mark.parametrize(
    ("short", "said"),
    [
        ({"inodes": 4_000_000}, "4,000,000 inodes and 1000.0 GB are free"),
        ({"size": 20_000_000_000}, "50,000,000 inodes and 20.0 GB are free"),
    ],
    ids=["inodes", "bytes"],
)
def test_a_folder_without_space_is_named_before_anything_is_written(
    short: dict[str, int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A size that was asked for is not left out: that is an error with the numbers in it."""
    volume(monkeypatch, **short)
    with pytest.raises(NotReady) as refused:
        next(maintenance.measure(Program("true", ("true",)), tmp_path, [1_000_000]))
    needs = "1,000,000 blobs need 5,000,000 inodes and 20.5 GB"
    assert str(refused.value) == f"{tmp_path} has too little room: {needs}, and {said}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("scarce", "each"), [("inodes", room.INODES_PER_BLOB), ("size", 20_480)], ids=str
)
def test_a_size_that_does_not_fit_next_to_the_smaller_ones_is_left_out(
    scarce: str, each: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All trees are on one volume: the space of the smaller ones is not free."""
    sizes = [1_000_000, 10_000, 100_000]
    volume(monkeypatch, **{scarce: sum(sizes) * each})
    assert room.fitting(tmp_path, sizes) == ([10_000, 100_000, 1_000_000], [])
    # Sizes are reported in blocks of 4096.
    volume(monkeypatch, **{scarce: sum(sizes) * each - 4096})
    fit, left_out = room.fitting(tmp_path, sizes)
    assert fit == [10_000, 100_000]
    assert [tree.blobs for tree in left_out] == [1_000_000]


def test_a_filesystem_that_counts_no_inodes_has_as_many_as_bytes_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """btrfs reports 0 inodes, none of them free."""
    volume(monkeypatch, inodes=0, size=30_000_000_000, files=0)
    fit, left_out = room.fitting(tmp_path, [1_000_000, 2_000_000])
    assert fit == [1_000_000]
    assert str(left_out[0]).endswith("41.0 GB, and 9.5 GB are free")


def test_a_default_size_that_does_not_fit_is_left_out_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A size that does not fit is left out; here none fits, so there is no table."""
    require_tool("wrk")
    require_tool("docker-registry")
    volume(monkeypatch, inodes=40_000)
    monkeypatch.setattr("benchmarks.rounds.Bench.start_once", lambda _: None)
    found = tmp_path / "found.json"
    assert main(["--only=maintenance", f"--folder={tmp_path}", f"--json={found}"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "not measured" in line]
    assert told == [
        f"- not measured: {blobs} blobs need {inodes} inodes and {size} GB, "
        "and 40,000 inodes and 1000.0 GB are free"
        for blobs, inodes, size in [
            ("10,000", "50,000", "0.2"),
            ("100,000", "500,000", "2.0"),
            ("1,000,000", "5,000,000", "20.5"),
        ]
    ]
    assert [tree["blobs"] for tree in json.loads(found.read_text())["left_out"]] == [
        10_000,
        100_000,
        1_000_000,
    ]


def test_a_requested_size_that_does_not_fit_ends_the_run_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is measured first, which would be lost."""
    require_tool("wrk")
    require_tool("docker-registry")
    volume(monkeypatch, inodes=40_000)
    assert main(["--only=growth", f"--folder={tmp_path}", "--blobs=10000"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "too little room: 10,000 blobs need 50,000 inodes" in said.err


def test_gathered_images_are_in_one_repository(tmp_path: Path) -> None:
    """No link is lost or changed, and nothing is left of the many repositories."""

    def links() -> dict[str, str]:
        repositories = tmp_path / "docker/registry/v2/repositories"
        return {
            str(file.relative_to(repositories)): file.read_text()
            for file in repositories.rglob("link")
        }

    blobs = 3 * crowd.IMAGES_PER_REPOSITORY * crowd.BLOBS_PER_IMAGE
    crowd.populate(tmp_path, blobs)
    before = links()
    crowd.gather(tmp_path)
    assert links() == {f"{crowd.ONE}/{path.split('/', 2)[2]}": to for path, to in before.items()}
    assert len(links()) == len(before) == blobs * 1.02
    assert os.listdir(tmp_path / "docker/registry/v2/repositories") == ["one"]


def test_litter_is_detected_until_its_last_file_is_removed(tmp_path: Path) -> None:
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


def test_cpu_is_reported_per_blob() -> None:
    run = Run(maintenance.ONE, "scrub", "registry-server", 20_000, 9.0, 4.0, 61_000_000)
    cells = [cell.strip() for cell in maintenance.text([run]).splitlines()[-1][2:-2].split("|")]
    named = ["one repository", "scrub", "registry-server"]
    assert cells == [*named, "20,000", "9.00", "4.00", "200", "61.0"]


def test_rows_of_one_command_are_adjacent() -> None:
    """Runs come in the order of the trees, and are shown in that of the commands."""
    runs = [
        Run(shape, task, "registry-server", blobs, 9.0, 4.0, 61_000_000)
        for blobs in (10, 100)
        for shape in (maintenance.MANY, maintenance.ONE)
        for task in ("scrub", "du")
    ]
    rows = [line.split("|")[1:5] for line in maintenance.text(runs).splitlines()[2:]]
    assert [(shape.split()[0], task.strip(), blobs.strip()) for shape, task, _, blobs in rows] == [
        (shape, task, blobs)
        for shape in ("many", "one")
        for task in ("scrub", "du")
        for blobs in ("10", "100")
    ]


def test_a_missing_registry_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("wrk")
    require_tool("docker-registry")
    assert main(["--only=maintenance", "--registry=/no/such"]) == 2
    assert capsys.readouterr().err == "benchmarks: the program /no/such does not exist\n"


@pytest.mark.parametrize("blobs", ["0", "1000,x", ""])
def test_a_wrong_number_of_blobs_is_refused(blobs: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--blobs={blobs}"])
    assert ended.value.code == 2


@pytest.mark.benchmarks
@pytest.mark.live
@pytest.mark.clients
@pytest.mark.timeout(180)
def test_all_three_are_measured_and_compared_with_the_named_registry(tmp_path: Path) -> None:
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
    shapes = [maintenance.MANY] * 4 + [maintenance.ONE] * 4
    assert [each["task"] for each in runs] == tasks * 4
    assert [each["shape"] for each in runs] == shapes * 2
    assert [each["blobs"] for each in runs] == [FEW] * 8 + [2 * FEW] * 8
    assert {each["program"].split()[0] for each in runs} == {"registry", "registry-server"}
    assert all(min(each["seconds"], each["cpu"], each["peak"]) > 0 for each in runs)
    assert "| many repositories | garbage-collect | registry-server" in table
    assert "| one repository    | garbage-collect | registry-server" in table
    assert os.listdir(folder) == []
