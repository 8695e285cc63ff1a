"""Boolean options in Go's flag syntax: every command accepts what `registry` accepts."""

from __future__ import annotations

import pytest
import typer

from registry_server.commands.command_line import complete
from registry_server.commands.go_flags import NoBoolean, in_typer_spelling

COMMAND = typer.main.get_group(complete())
COLLECT = "garbage-collect"


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ([COLLECT, "c.yml"], [COLLECT, "c.yml"]),
        ([COLLECT, "--dry-run=true", "c.yml"], [COLLECT, "--dry-run", "c.yml"]),
        ([COLLECT, "c.yml", "--dry-run=false"], [COLLECT, "c.yml"]),
        ([COLLECT, "c.yml", "-m=1", "-d=0"], [COLLECT, "--delete-untagged", "c.yml"]),
        ([COLLECT, "-dm", "c.yml"], [COLLECT, "--dry-run", "--delete-untagged", "c.yml"]),
        ([COLLECT, "-dm=f", "c.yml"], [COLLECT, "--dry-run", "c.yml"]),
        ([COLLECT, "-d", "--dry-run=F", "c.yml"], [COLLECT, "c.yml"]),
        ([COLLECT, "-d=FALSE", "-d", "c.yml"], [COLLECT, "--dry-run", "c.yml"]),
        ([COLLECT, "-q", "--", "-d=true"], [COLLECT, "--quiet", "--", "-d=true"]),
        ([COLLECT, "--root", "-d", "c.yml"], [COLLECT, "--root", "-d", "c.yml"]),
        ([COLLECT, "--root=-d", "c.yml"], [COLLECT, "--root=-d", "c.yml"]),
        ([COLLECT, "-dx"], [COLLECT, "--dry-run", "-x"]),
        ([COLLECT, "-dh"], [COLLECT, "--dry-run", "-h"]),
        ([COLLECT, "--nonsense=true"], [COLLECT, "--nonsense=true"]),
        ([COLLECT, "-"], [COLLECT, "-"]),
        (["scrub", "--repair=T"], ["scrub", "--repair"]),
        (["robots", "list", "--json=True"], ["robots", "list", "--json"]),
        (["--version=t"], ["--version"]),
        (["-v=false", "serve"], ["serve"]),
        (["nonsense", "-d=true"], ["nonsense", "-d=true"]),
        ([], []),
    ],
)
def test_valid_flags(words: list[str], read: list[str]) -> None:
    """The last value of a flag wins; everything else is unchanged."""
    assert in_typer_spelling(COMMAND, words) == read


@pytest.mark.parametrize("word", ["--dry-run=maybe", "--dry-run=", "-d=yes", "-md=TRue"])
def test_invalid_values(word: str) -> None:
    """Go's own parser refuses these."""
    with pytest.raises(NoBoolean, match="must be true or false"):
        in_typer_spelling(COMMAND, [COLLECT, word])
