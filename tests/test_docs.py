"""The documentation is true: its examples run, and its links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import yaml

from tests.support.servers import PROJECT, RegistryServer
from tests.support.tools import require_tool

API = PROJECT / "docs/api.md"
MANAGEMENT = PROJECT / "docs/management.md"
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
# What the examples write for the server that the reader has started.
SERVER = "localhost:5000"
MARK = "-- end of an example --"
ANYTHING = "…"

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_MODULE = re.compile(r"`([\w/.]+\.(?:py|yaml))`")
_NAME = re.compile(r"`(?:\w+\.)*([A-Za-z]*_\w+|[A-Z][a-z]+[A-Z]\w+)(?:\([^`]*\))?`")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """A command as it is typed, and what the document says it prints."""

    command: str
    printed: str


def examples(document: str) -> Iterator[Example]:
    """Yield the commands of a document's console blocks: `$` begins one, `>` goes on."""
    for block in _BLOCK.findall(document):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = text.splitlines()
            more = next(
                (at for at, line in enumerate(lines[1:]) if not line.startswith("> ")), None
            )
            end = len(lines) if more is None else more + 1
            command = "\n".join([lines[0], *(line[2:] for line in lines[1:end])])
            yield Example(command, "\n".join(lines[end:]).strip("\n"))


def run_all(commands: list[str], folder: Path) -> list[str]:
    """Run commands in one shell, one after the other; return what each printed."""
    script = "\n".join(f"{command}\necho; echo '{MARK}'" for command in commands)
    done = subprocess.run(
        [require_tool("bash"), "-eu", "-c", script],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode().replace("\r\n", "\n").split(f"\n{MARK}\n")
    return printed[:-1]


def agrees(wanted: str, found: str) -> bool:
    """Tell whether a text is as the document has it, `…` standing for anything."""
    pattern = ".*".join(re.escape(part) for part in wanted.strip().split(ANYTHING))
    return re.fullmatch(pattern, found.strip(), re.DOTALL) is not None


def differences(wanted: str, found: str) -> list[str]:
    """Return what an example promises and the answer does not keep.

    Of an answer with a status line the document shows some headers; all else it shows whole.
    """
    if not wanted.startswith("HTTP/"):
        return [] if agrees(wanted, found) else [wanted]
    found = found.removeprefix("HTTP/1.1 100 Continue\n\n")
    wanted_head, _, wanted_body = wanted.partition("\n\n")
    found_head, _, found_body = found.partition("\n\n")
    headers = found_head.split("\n")
    missing = [
        line for line in wanted_head.split("\n") if not any(agrees(line, h) for h in headers)
    ]
    return missing if agrees(wanted_body, found_body) else [*missing, wanted_body]


@pytest.mark.live
def test_every_example_of_the_api_is_true(tmp_path: Path) -> None:
    """Each command of docs/api.md prints what the document says, run from top to bottom."""
    with RegistryServer(tmp_path / "server") as server:
        hold(API, server, tmp_path / "typed", at_least=40)


@pytest.mark.live
def test_every_example_of_managing_is_true(tmp_path: Path) -> None:
    """So does each of docs/management.md, where the user it names is an administrator."""
    with RegistryServer(tmp_path / "server", config=managed(tmp_path)) as server:
        hold(MANAGEMENT, server, tmp_path / "typed", at_least=10)


def managed(folder: Path) -> str:
    """Return a configuration as docs/management.md has it, with its users in `folder`."""
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    users = folder / "users"
    users.write_text(f"ann:{hashed}\nbob:{hashed}\n")
    (snippet,) = re.findall(r"^```yaml\n(.*?)^```$", MANAGEMENT.read_text(), re.M | re.S)
    access = yaml.safe_load(snippet)["access"] | {"rules": []}
    auth = {"htpasswd": {"realm": "tests", "path": str(users)}}
    return json.dumps({"version": "0.1", "auth": auth, "access": access})


def hold(document: Path, server: RegistryServer, folder: Path, *, at_least: int) -> None:
    """Run all that a document has typed against a server, and compare what is printed."""
    require_tool("curl")
    folder.mkdir()
    told = list(examples(document.read_text().replace(SERVER, server.address)))
    printed = run_all([one.command for one in told], folder)
    assert len(told) == len(printed) > at_least
    wrong = {
        one.command: (missing, found)
        for one, found in zip(told, printed, strict=True)
        if (missing := differences(one.printed, found))
    }
    assert wrong == {}


@pytest.mark.parametrize("program", ["python -m registry_server", "/usr/bin/registry-server"])
def test_the_recipe_for_a_reload_finds_the_server(program: str) -> None:
    """The pattern of docs/configuration.md matches what `make run` and the command start."""
    document = (PROJECT / "docs/configuration.md").read_text()
    (pattern,) = re.findall(r"pgrep -o -f '(.+?)'", document)
    assert re.search(pattern, f"{program} serve /etc/docker/registry/config.yml")
    assert not re.search(pattern, f"{program} check /etc/docker/registry/config.yml")


@pytest.mark.parametrize(
    ("wanted", "found", "wrong"),
    [
        ("HTTP/1.1 200 OK\na: …", "HTTP/1.1 200 OK\na: 1\nb: 2\n\n", False),
        ("HTTP/1.1 200 OK\nc: 3", "HTTP/1.1 200 OK\na: 1\nb: 2\n\n", True),
        ("HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found\n\n", True),
        ("HTTP/1.1 200 OK\n\n{}", "HTTP/1.1 200 OK\n\n{}", False),
        ("HTTP/1.1 200 OK\n\n{}", "HTTP/1.1 200 OK\n\n[]", True),
        ("HTTP/1.1 200 OK", "HTTP/1.1 200 OK\n\nan unexpected body", True),
        ("", "something", True),
        ("a…d", "abcd", False),
    ],
)
def test_an_example_that_lies_is_found_out(wanted: str, found: str, wrong: bool) -> None:
    """Another status, a header or a body that is not there, and one that should not be."""
    assert bool(differences(wanted, found)) is wrong


def anchors(document: str) -> set[str]:
    """Return the fragments by which the headings of a document are linked to."""
    titles = (title.lower() for title in _HEADING.findall(document))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    """A file of this repository that is there, and a heading in it."""
    for link in _LINK.findall(document.read_text()):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, fragment = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert target.is_relative_to(PROJECT), link
        assert not fragment or fragment in anchors(target.read_text()), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_modules_that_a_document_names_exist(document: Path) -> None:
    """By the end of their path at least, as `v2/routes.py`."""
    folders = ("storage", "registry_server", "tests", "benchmarks", "docker", "requirements")
    files = [path for folder in folders for path in (PROJECT / folder).rglob("*.*")]
    existing = {f"/{path.relative_to(PROJECT)}" for path in [*files, *PROJECT.glob("*.yaml")]}
    named = set(_MODULE.findall(document.read_text()))
    assert {n for n in named if not any(path.endswith(f"/{n}") for path in existing)} == set()


def test_names_of_the_design_exist() -> None:
    """Classes and functions that docs/design.md names are in the source."""
    document = (PROJECT / "docs/design.md").read_text()
    folders = ("storage", "registry_server")
    source = "\n".join(p.read_text() for f in folders for p in (PROJECT / f).rglob("*.py"))
    named = set(_NAME.findall(document)) - {"SO_REUSEPORT"}
    assert len(named) > 10
    assert {name for name in named if not re.search(rf"\b{name}\b", source)} == set()
