"""`check`, and which configuration every command uses."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.live.programs import run, run_program, serving
from tests.live.transfers import until
from tests.support.servers import PROJECT

NAMED = "REGISTRY_CONFIGURATION_PATH"
ODD = "database: {enabled: true}\n"


def write(folder: Path, more: str = "", root: str = "root") -> Path:
    """Write a configuration whose root is `root` below `folder`."""
    path = folder / "config.yml"
    text = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder / root}}}}}\n{more}"
    if "http" not in more:
        text += "http: {addr: '127.0.0.1:5000'}\n"
    path.write_text(text)
    return path


def test_strict_turns_warnings_into_an_exit_code(tmp_path: Path) -> None:
    """Exit code 1 for a configuration that can be used and has warnings, 2 for one that can't."""
    write(tmp_path, ODD)
    for arguments, code in (["check", "config.yml"], 0), (["check", "--strict", "config.yml"], 1):
        done = run(arguments, tmp_path)
        assert done.returncode == code
        assert "warning: config.yml, line 3: database is not a known key" in done.stderr
    write(tmp_path)
    assert run(["check", "--strict", "config.yml"], tmp_path).returncode == 0
    write(tmp_path, "auth: {ldap: {}}\n")
    assert run(["check", "--strict", "config.yml"], tmp_path).returncode == 2


def test_json_has_the_parts_of_each_line(tmp_path: Path) -> None:
    """One document with file, line, column, key and message of errors and warnings."""
    write(tmp_path, ODD)
    done = run(["check", "--json", "config.yml"], tmp_path)
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (report["configuration"], report["usable"], report["errors"]) == ("config.yml", True, [])
    (warning,) = report["warnings"]
    assert warning.pop("message").startswith("is not a known key and is ignored: ")
    assert warning == {"source": "config.yml", "line": 3, "column": None, "key": "database"}
    write(tmp_path, "http: [\n")
    done = run(["check", "--json", "config.yml"], tmp_path)
    report = json.loads(done.stdout)
    (error,) = report["errors"]
    assert (done.returncode, report["usable"]) == (2, False)
    assert (error["line"], error["column"]) == (4, 1)


def test_a_root_that_serve_would_make_is_no_error_and_is_not_made(tmp_path: Path) -> None:
    """`check` makes nothing; a root whose folder is missing as well is an error."""
    write(tmp_path)
    assert run(["check", "config.yml"], tmp_path).returncode == 0
    assert not (tmp_path / "root").exists()
    write(tmp_path, root="not/mounted")
    done = run(["check", "config.yml"], tmp_path)
    assert done.returncode == 2
    assert str(tmp_path / "not/mounted") in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve"],
        ["check"],
        ["garbage-collect"],
        ["scrub"],
        ["du"],
        ["delete", "name"],
        ["purge-uploads"],
        ["robots", "list"],
        ["explain", "ann", "pull", "name"],
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_every_command_reads_the_file_that_the_environment_names(
    tmp_path: Path, arguments: list[str]
) -> None:
    """The variable names the file; what is wrong with that file ends the command."""
    path = write(tmp_path, "auth: {ldap: {}}\n")
    done = run(arguments, tmp_path, {NAMED: str(path)})
    assert done.returncode == 2
    assert f"{path}, line 3: auth.ldap is not a known key" in done.stderr


def test_an_argument_wins_over_the_environment(tmp_path: Path) -> None:
    """And the file that is read is the one that is named."""
    write(tmp_path)
    done = run(["check", "config.yml"], tmp_path, {NAMED: str(tmp_path / "other.yml")})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("config.yml: ")


@pytest.mark.parametrize("arguments", [["serve"], ["garbage-collect"], ["check"]])
def test_by_the_name_registry_a_configuration_is_required(
    tmp_path: Path, arguments: list[str]
) -> None:
    """As distribution's program does, it serves nothing without one, and makes no ./data."""
    program = tmp_path / "registry"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(PROJECT)!r})\n"
        "from registry_server.cli import main\nmain()\n"
    )
    program.chmod(0o755)
    done = run_program([program, *arguments], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no configuration: name the file, or set {NAMED}" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["registry"]


def test_check_start_and_reload_warn_about_an_open_registry(tmp_path: Path) -> None:
    """With the same line; commands that serve nothing do not."""
    path = write(tmp_path, "http: {addr: '0.0.0.0:0', workers: 1}\n")
    line = f"{path}, line 3: http.addr is not on loopback, and every client may pull and push: "
    done = run(["check", str(path)], tmp_path)
    assert (done.returncode, done.stderr.count(line)) == (0, 1)
    assert run(["check", "--strict", str(path)], tmp_path).returncode == 1
    with serving([str(path)], tmp_path) as server:
        assert server.said.count(line) == 1
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.said.count(line) == 2, "it warns again")
        assert line not in run(["du", "--config", str(path)], tmp_path).stderr
