"""`make audit` without a network finds the locked versions that an advisory affects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from requirements.advisories import (
    NPM,
    NPM_LOCKS,
    PIP_LOCKS,
    PROJECT,
    PYPI,
    Package,
    affects,
    audit,
    by_subject,
    findings,
    locked,
    npm_packages,
    pip_packages,
)

LOCKED = by_subject([Package(PYPI, "some-package", "2.3.1"), Package(NPM, "@a/b", "1.0.0")])


def advisory(name: str, ecosystem: str = PYPI, **more: Any) -> dict[str, Any]:
    """Return a record of OSV about all versions below 99."""
    events = [{"introduced": "0"}, {"fixed": "99"}]
    entry = {
        "package": {"ecosystem": ecosystem, "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": "X-1", "aliases": ["CVE-1"], "summary": "bad", "affected": [entry], **more}


@pytest.mark.parametrize(
    ("events", "version", "expected"),
    [
        ([{"introduced": "0"}, {"fixed": "2.0"}], "1.9.9", True),
        ([{"introduced": "0"}, {"fixed": "2.0"}], "2.0", False),
        ([{"introduced": "0"}, {"fixed": "2.0"}], "2.0rc1", True),
        ([{"introduced": "0"}], "0.dev0", True),
        ([{"introduced": "1.5"}], "1.4", False),
        ([{"introduced": "1.5"}], "1.5", True),
        ([{"introduced": "1"}, {"last_affected": "1.5"}], "1.5", True),
        ([{"introduced": "1"}, {"last_affected": "1.5"}], "1.5.1", False),
        ([{"fixed": "2"}, {"introduced": "3"}, {"introduced": "1"}, {"fixed": "9"}], "2.5", False),
        ([{"fixed": "2"}, {"introduced": "3"}, {"introduced": "1"}, {"fixed": "10"}], "9", True),
        ([{"introduced": "0"}, {"limit": "1"}], "0.5", True),
        ([{"introduced": "0"}, {"fixed": "no version"}], "1", True),
        ([], "1", False),
    ],
)  # fmt: skip
def test_a_range_has_the_versions_that_its_events_say(
    events: list[dict[str, str]], version: str, expected: bool
) -> None:
    """In the order of versions, not of texts; what cannot be compared is reported."""
    assert affects({"ranges": [{"type": "ECOSYSTEM", "events": events}]}, version) is expected
    assert not affects({"ranges": [{"type": "GIT", "events": events}]}, version)
    assert affects({"versions": ["1", version]}, version)


def test_the_package_is_found_under_each_of_its_spellings() -> None:
    """Python's names ignore case and separators, those of npm do not."""
    line = "some-package 2.3.1 (PyPI): X-1 (CVE-1) bad"
    assert list(findings(LOCKED, advisory("Some_Package"))) == [line]
    assert list(findings(LOCKED, advisory("@a/b", NPM))) == ["@a/b 1.0.0 (npm): X-1 (CVE-1) bad"]
    others = [advisory("@A/B", NPM), advisory("@a/b"), advisory("some-package", NPM)]
    withdrawn = advisory("some-package", withdrawn="2026-01-01T00:00:00Z")
    for each in (*others, withdrawn):
        assert list(findings(LOCKED, each)) == []


def test_every_pin_of_the_locks_is_read() -> None:
    """As many as have hashes in pip's files, and an integrity in npm's."""
    for path in PIP_LOCKS:
        text = path.read_text()
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert len(list(pip_packages(text))) == len(pins) > 20
    for path in NPM_LOCKS:
        text = path.read_text()
        assert len(list(npm_packages(text))) == text.count('"integrity"') > 20
    assert {package.ecosystem for package in locked()} == {PYPI, NPM}


@pytest.mark.parametrize(
    ("advisories", "code"),
    [
        ([advisory("starlette"), advisory("x", NPM)], 1),
        ([advisory("x"), advisory("abort-controller", NPM)], 1),
        ([advisory("x"), advisory("x", NPM)], 0),
        ([advisory("x")], 2),
        ([], 2),
    ],
)
@pytest.mark.parametrize("is_archive", [True, False])
def test_the_exit_code_says_what_was_found(
    tmp_path: Path, advisories: list[dict[str, Any]], code: int, is_archive: bool
) -> None:
    """An export without advisories for one of the locks proves nothing, and is an error."""
    export = tmp_path / ("all.zip" if is_archive else "all")
    texts = {f"{number}.json": json.dumps(each) for number, each in enumerate(advisories)}
    if is_archive:
        with ZipFile(export, "w") as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
    else:
        export.mkdir()
        for name, text in texts.items():
            (export / name).write_text(text)
    command = [sys.executable, "-m", "requirements.advisories", str(export)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert ("X-1 (CVE-1) bad" in done.stdout) == (code == 1)


@pytest.mark.parametrize("record", ["[]", '"x"', "1", '{"affected": 1}', '{"affected": [1]}'])
def test_json_that_is_no_record_is_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], record: str
) -> None:
    """In whatever it differs from one: the exit code is that of an export that can't be read."""
    (tmp_path / "a.json").write_text(record)
    assert audit([tmp_path], locked()) == 2
    assert capsys.readouterr().err.startswith("an export can't be read: ")


def test_a_damaged_archive_is_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its list of files is whole, and their compressed content is not."""
    export = tmp_path / "pypi.zip"
    with ZipFile(export, "w", ZIP_DEFLATED) as archive:
        archive.writestr("a.json", json.dumps(advisory("x") | {"details": "x" * 1000}))
    content = bytearray(export.read_bytes())
    content[40:60] = b"\xff" * 20
    export.write_bytes(content)
    assert audit([export], locked()) == 2
    assert capsys.readouterr().err.startswith("an export can't be read: ")


@pytest.mark.parametrize("content", [None, "no archive"])
def test_an_export_that_can_not_be_read_is_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    """It ends with 2 and one line, because 1 would say that an advisory was found."""
    export = tmp_path / "pypi.zip"
    if content is not None:
        export.write_text(content)
    assert audit([export], locked()) == 2
    assert capsys.readouterr().err.startswith("an export can't be read: ")
