"""`registry-server explain`: prints the decision of the rules, and which rule decided."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from registry_server.access.interfaces import ANONYMOUS
from registry_server.commands.command_line import complete
from registry_server.commands.explain import Question, read_policy
from registry_server.config.access import Access
from storage.errors import NameInvalid

RULES = """
groups: {developers: [bob]}
administrators: {groups: [developers]}
rules:
  - {repositories: [team/**], users: [ann], groups: [developers], actions: [pull, push, catalog]}
  - {anonymous: true, actions: [pull]}
  - {repositories: [team/**], users: ["*"], deny: [overwrite]}
  - {repositories: [ci/**], users: ["robot:ci"], actions: [pull, push]}
  - {repositories: [drop/**], users: [ann], actions: [push, overwrite]}
  - {repositories: [move/**], users: [ann], actions: [pull, overwrite]}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Access:
    """Write a configuration with a file of rules."""
    path = tmp_path / "rules.yml"
    path.write_text(RULES)
    return Access(file=path)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("ann push team/app", "allowed: ann may push team/app: rules[0] (team/**)"),
        ("bob push team/app", "allowed: bob may push team/app: rules[0] (team/**)"),
        (
            "eve push team/app",
            "denied: eve may not push team/app: rules[1] (**) does not grant push",
        ),
        ("ann overwrite team/a", "denied: ann may not overwrite team/a: rules[2] (team/**) denies"),
        ("anonymous pull x", "allowed: anonymous may pull x: rules[1] (**)"),
        ("- pull x", "allowed: anonymous may pull x: rules[1] (**)"),
        ("ann catalog", "allowed: ann may list repositories: rules[0]"),
        ("bob administration", "allowed: bob may administer the registry: administrators"),
        (
            "ann administration",
            "denied: ann may not administer the registry: administrators does not name them",
        ),
        ("robot:ci push ci/a", "allowed: robot:ci may push ci/a: rules[3] (ci/**)"),
        ("robot$ci push ci/a", "allowed: robot:ci may push ci/a: rules[3] (ci/**)"),
        (
            "ann push drop/a",
            "denied: ann may not push drop/a: push also needs pull: rules[4] (drop/**) does not",
        ),
        ("ann overwrite drop/a", "denied: ann may not overwrite drop/a: overwrite also needs pull"),
        ("ann overwrite move/a", "denied: ann may not overwrite move/a: overwrite also needs push"),
        ("- catalog", "denied: anonymous may not list repositories: no rule grants catalog"),
    ],
)
def test_the_decision_and_its_rule_are_printed(rules: Access, words: str, line: str) -> None:
    """The line has the decision, the question and the rule."""
    user, action, *names = words.split()
    question = Question.parse(user, action, names[0] if names else None, [])
    decision = question.put_to(read_policy(rules))
    assert question.answered(decision).startswith(line)
    assert decision.allowed == line.startswith("allowed")


def test_groups_can_be_given(rules: Access) -> None:
    """A group that only credentials reveal is accepted as given; an anonymous caller has none."""
    policy = read_policy(rules)
    assert Question.parse("eve", "push", "team/app", ["developers"]).put_to(policy).allowed
    assert Question.parse("-", "push", "team/app", ["developers"]).actor == ANONYMOUS


@pytest.mark.parametrize(
    ("user", "action", "repository", "reason"),
    [
        ("ann", "pul", "team/app", "'pul' is not an action; use one of: pull, push, overwrite,"),
        ("ann", "*", "team/app", "'*' is not an action"),
        ("ann", "pull", None, "only catalog and administration need none"),
        ("", "pull", "team/app", "USER is empty"),
        ("*", "pull", "team/app", "USER must be a name, not a pattern"),
        ("robot$CI", "pull", "team/app", "USER must be robot:ci"),
        ("robot$", "pull", "team/app", "USER must be robot:NAME"),
        ("ann ", "pull", "team/app", "USER must be a name of 1 to 255 printable"),
    ],
)
def test_invalid_arguments_are_refused(
    user: str, action: str, repository: str | None, reason: str
) -> None:
    """One line names the mistake in the call."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        Question.parse(user, action, repository, [])


def test_a_group_that_is_not_defined_is_refused(tmp_path: Path) -> None:
    """No rule mentions it, so an answer would hide a typing mistake; the exit code is 2."""
    (tmp_path / "rules.yml").write_text(RULES)
    config = tmp_path / "config.yml"
    config.write_text(f"version: 0.1\naccess: {{file: {tmp_path / 'rules.yml'}}}\n")
    words = ["explain", "eve", "pull", "a", "--config", str(config), "--group", "developer"]
    done = CliRunner().invoke(complete(), words)
    assert done.exit_code == 2
    assert "--group developer: the rules define no such group" in done.stderr


def test_an_invalid_repository_name_is_refused() -> None:
    """Names follow the grammar of the spec."""
    with pytest.raises(NameInvalid):
        Question.parse("ann", "pull", "Team/App", [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [("rules: [{}]", "needs users, groups or anonymous"), (None, "can't be read: No such file")],
)
def test_unreadable_rules_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, reason: str
) -> None:
    """The exit code is 2, and one line names the file and the reason."""
    path = tmp_path / "rules.yml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(typer.Exit) as caught:
        read_policy(Access(file=path))
    assert caught.value.exit_code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"registry-server: {path} ")
    assert reason in line


def test_without_rules_there_is_nothing_to_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """Missing rules are not rules that deny; the exit code is 2."""
    with pytest.raises(typer.Exit) as caught:
        read_policy(Access())
    assert caught.value.exit_code == 2
    assert "no rules are configured" in capsys.readouterr().err
