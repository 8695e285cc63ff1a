"""The wheel: it holds the licence, describes the package, and runs."""

from __future__ import annotations

import shutil
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.support.servers import PROJECT
from tests.support.tools import run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a wheel that pip built from a copy of the sources, since a build writes into them."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("registry_server", "storage"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    run([*build, str(folder), str(source)], timeout=240)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_licence_and_says_which_it_is(wheel: Path) -> None:
    """LICENSE is a file of the wheel, and the metadata has its SPDX name (PEP 639)."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (information,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        licence = archive.read(f"{information}/licenses/LICENSE")
        metadata = message_from_bytes(archive.read(f"{information}/METADATA"))
    assert licence == (PROJECT / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert {name.split("/")[0] for name in names} == {"registry_server", "storage", information}


def test_the_metadata_names_no_person_and_no_host(wheel: Path) -> None:
    """The author is the project, and no address stands for a home that it does not have."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Author"] == "The registry-server project"
    assert metadata["Author-email"] is None
    assert metadata.get_all("Project-URL") is None
    classifiers = metadata.get_all("Classifier") or []
    assert "Programming Language :: Python :: 3.13" in classifiers
    assert not [each for each in classifiers if each.startswith("License ::")]


def test_the_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    """Installed away from the sources, the program is there by its name and reads a file."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    run([*install, str(tmp_path / "site"), str(wheel)])
    (tmp_path / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
    )
    program = str(tmp_path / "site/bin/registry-server")
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    printed = run([program, "check", str(tmp_path / "config.yml")], env=environment)
    assert "can be used" in printed
