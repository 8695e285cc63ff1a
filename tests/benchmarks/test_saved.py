"""Where the values of a run are saved without `--json`."""

import json
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.saved import FOLDER, default_file, write

STARTED = datetime(2030, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_a_file_is_named_by_its_moment_and_its_commit() -> None:
    assert default_file(STARTED, "abc-dirty", is_quick=False).name == (
        "2030-02-03-040506-abc-dirty.json"
    )
    assert default_file(STARTED, "", is_quick=True).name == "2030-02-03-040506-unknown-quick.json"


def test_git_ignores_the_folder_of_results() -> None:
    ignored = (FOLDER.parents[1] / ".gitignore").read_text().splitlines()
    assert f"{FOLDER.relative_to(FOLDER.parents[1])}/" in ignored


def test_the_folder_is_made_when_it_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "new" / "found.json"
    write(file, {"format": 2})
    assert json.loads(file.read_text()) == {"format": 2}
