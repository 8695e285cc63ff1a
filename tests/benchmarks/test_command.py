"""The command line's answers when there is nothing to measure."""

from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.__main__ import main


@pytest.mark.parametrize("program", ["wrk", "docker-registry"])
def test_a_missing_program_is_one_line_and_exit_code_2(
    program: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path_factory.mktemp("programs")
    for present in {"wrk", "docker-registry"} - {program}:
        (folder / present).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert f"{program} is not installed" in said.err


@pytest.mark.parametrize("arguments", [["--only", "manifest"], ["--rounds", "0"], ["--rounds=x"]])
def test_a_wrong_choice_is_named_with_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert arguments[-1].rpartition("=")[2] in capsys.readouterr().err


def test_without_nginx_there_is_no_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\necho 'nginx version: nginx/9.8.7' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(servers, "SYSTEM_PROGRAMS", str(tmp_path))
    found = servers.nginx()
    assert found is not None
    assert (found.version, found.command[0]) == ("nginx/9.8.7", str(program))
    program.unlink()
    assert servers.nginx() is None
