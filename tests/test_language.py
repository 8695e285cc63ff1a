"""Docstrings, comments, messages, test names and documentation use plain words.

The forms that are refused stand in one place: in `code` in the last table of docs/glossary.md.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parents[1]
GLOSSARY = PROJECT / "docs/glossary.md"
CODE = ("storage", "registry_server", "benchmarks", "docker", "requirements", "tests")
TEXTS = (
    "*.md",
    "config.example.yaml",
    "Makefile",
    "Dockerfile",
    ".ci/run",
    "docs/**/*.md",
    "docker/**/*.md",
    "docker/*.sh",
    "docker/*.yml",
)
HEADING = "## Left-out forms\n"

# What begins a line of a comment or of a quotation, and is not part of its sentence.
_LINE_START = re.compile(r"^[ \t]*[#>]*", re.MULTILINE)


class Prose(NamedTuple):
    """A piece of text, and the line of its file on which it begins."""

    line: int
    text: str


def refused_forms(page: str) -> list[str]:
    """Return the forms in `code` in the first column of the page's last table."""
    rows = re.findall(r"^\| (.+?) \|", page.partition(HEADING)[2], re.MULTILINE)
    return [form for cell in rows for form in re.findall(r"`([^`]+)`", cell)]


def pattern(forms: list[str]) -> re.Pattern[str]:
    """Compile an expression that finds each form as whole words, also across lines."""
    spaced = (r"\s+".join(map(re.escape, form.split())) for form in forms)
    return re.compile(rf"\b(?:{'|'.join(spaced)})\b", re.IGNORECASE)


FORMS = pattern(refused_forms(GLOSSARY.read_text()))


def prose_of_text(text: str) -> Iterator[Prose]:
    """Yield a document or configuration, without the glossary's table of left-out forms."""
    yield Prose(1, _LINE_START.sub("", text.partition(HEADING)[0]))


def prose_of_code(source: str, *, is_test: bool) -> Iterator[Prose]:
    """Yield the comments of a module, and its string literals; of a test docstrings and names."""
    yield from _comments(source)
    tree = ast.parse(source)
    docstrings = set(_docstrings(tree))
    for node in ast.walk(tree):
        if is_test and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield Prose(node.lineno, node.name.replace("_", " "))
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if node in docstrings or not is_test:
            yield Prose(node.lineno, node.value)


def _docstrings(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            yield body[0].value


def _comments(source: str) -> Iterator[Prose]:
    """Yield comments, those of successive lines as one."""
    begun, text, last = 0, "", -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if line == last + 1:
            text += "\n" + token.string.lstrip("#")
        else:
            yield Prose(begun, text)
            begun, text = line, token.string.lstrip("#")
        last = line
    yield Prose(begun, text)


def found_in(prose: Iterator[Prose]) -> Iterator[tuple[int, str]]:
    """Yield the line and the words of each form that is refused."""
    for line, text in prose:
        for match in FORMS.finditer(text):
            yield line + text.count("\n", 0, match.start()), " ".join(match[0].split())


def findings() -> Iterator[str]:
    """Yield `file:line: form` for the whole project."""
    for folder in CODE:
        for path in sorted((PROJECT / folder).rglob("*.py")):
            prose = prose_of_code(path.read_text(), is_test=folder == "tests")
            yield from _reported(path, prose)
    for glob in TEXTS:
        for path in sorted(PROJECT.glob(glob)):
            yield from _reported(path, prose_of_text(path.read_text()))


def _reported(path: Path, prose: Iterator[Prose]) -> Iterator[str]:
    for line, form in found_in(prose):
        yield f"{path.relative_to(PROJECT)}:{line}: {form}"


def test_the_project_is_written_in_plain_words() -> None:
    """No form of the glossary's table is used anywhere."""
    assert list(findings()) == []


def test_the_glossary_lists_the_forms() -> None:
    """The table is read: the five words, and forms of several words."""
    forms = refused_forms(GLOSSARY.read_text())
    assert {"nobody", "whoever", "somebody", "anybody", "whom", "read anew"} <= set(forms)
    assert len(forms) == len(set(forms))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""Tell\n\nWhoever asks."""\n', [(3, "Whoever")]),
        ('def f() -> None:\n    """For nobody."""\n', [(2, "nobody")]),
        ("x = 1\n# It is read\n# anew.\n", [(2, "read anew")]),
        ("x = 1  # for ever\n", [(1, "for ever")]),
        ('log.info("somebody has %s", x)\n', [(1, "somebody")]),
        ('error = f"{x} is held by anybody"\n', [(1, "anybody")]),
        ("class A:\n    def whom(self) -> None: ...\n", []),
        ("nobodys = read_anew = 1\n", []),
    ],
)
def test_a_form_in_the_source_is_found(source: str, found: list[tuple[int, str]]) -> None:
    """In docstrings, comments, log lines and formatted messages, but not in names."""
    assert list(found_in(prose_of_code(source, is_test=False))) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def test_that_nobody_waits() -> None: ...\n", [(1, "nobody")]),
        ("class WhomItConcerns:\n    async def to_whom(self) -> None: ...\n", [(2, "whom")]),
        ('"""Somebody."""\n', [(1, "Somebody")]),
        ("# written down\n", [(1, "written down")]),
        ('GARBAGE = "nobody"\n', []),
    ],
)
def test_a_form_in_a_test_is_found(source: str, found: list[tuple[int, str]]) -> None:
    """In names, docstrings and comments, but not in test data."""
    assert list(found_in(prose_of_code(source, is_test=True))) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# Title\n\nThe file is read\nanew.\n", [(3, "read anew")]),
        ("a:\n  # It is read\n  # anew.\n  b: 1\n", [(2, "read anew")]),
        ("| a | it is for nobody |\n", [(1, "nobody")]),
        (f"fine\n\n{HEADING}\n| `nobody` | caller |\n", []),
        ("nobodyelse and forever\n", []),
    ],
)
def test_a_form_in_a_document_is_found(text: str, found: list[tuple[int, str]]) -> None:
    """In prose, tables and comments, but not in the table that lists the forms."""
    assert list(found_in(prose_of_text(text))) == found
