"""Check the lock files against advisories on the disk: `make audit OSV="pypi.zip npm.zip"`.

The advisories are records of OSV (https://ossf.github.io/osv-schema), in zip archives or folders as
OSV exports them for each ecosystem.

Exit codes: 0 no locked version has an advisory; 1 one has; 2 there are no advisories for a lock, or
an export can't be read.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile, ZipFile

from packaging.version import InvalidVersion, Version

PYPI, NPM = "PyPI", "npm"
PROJECT = Path(__file__).resolve().parents[1]
PIP_LOCKS = (PROJECT / "requirements/run.lock", PROJECT / "requirements/test.lock")
NPM_LOCKS = (PROJECT / "tests/clients/npm/package-lock.json",)

# What damage to an archive raises, or an encrypted one, and JSON that is no record. An end by an
# exception would be exit code 1, which means that an advisory was found.
_UNREADABLE = (
    OSError, BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, TypeError, LookupError,
    AttributeError,
)  # fmt: skip

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)
_SEPARATORS = re.compile(r"[-_.]+")

Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A version of a package that a lock names; the name is as its ecosystem normalizes it."""

    ecosystem: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.ecosystem})"


# Packages by ecosystem and name.
Subjects: TypeAlias = Mapping[tuple[str, str], Sequence[Package]]


def pip_packages(lock: str) -> Iterator[Package]:
    """Yield what a requirements file pins."""
    for name, version in _PINNED.findall(lock):
        yield Package(PYPI, _normalized(PYPI, name), version)


def npm_packages(lock: str) -> Iterator[Package]:
    """Yield what a package-lock.json of version 2 or 3 pins."""
    for path, entry in json.loads(lock)["packages"].items():
        if path:
            name = entry.get("name") or path.rpartition("node_modules/")[2]
            yield Package(NPM, name, entry["version"])


def locked() -> frozenset[Package]:
    """Return all that the lock files of this project pin."""
    pip = (package for path in PIP_LOCKS for package in pip_packages(path.read_text()))
    npm = (package for path in NPM_LOCKS for package in npm_packages(path.read_text()))
    return frozenset((*pip, *npm))


def records(export: Path) -> Iterator[Record]:
    """Yield the records of an export."""
    if export.is_dir():
        yield from (json.loads(path.read_bytes()) for path in sorted(export.rglob("*.json")))
        return
    with ZipFile(export) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def by_subject(packages: Iterable[Package]) -> Subjects:
    """Arrange packages by the ecosystem and name that an advisory has for them."""
    found: dict[tuple[str, str], list[Package]] = {}
    for package in packages:
        found.setdefault((package.ecosystem, package.name), []).append(package)
    return found


def findings(packages: Subjects, record: Record) -> Iterator[str]:
    """Yield a line for each locked version that an advisory affects, none if it was withdrawn."""
    if record.get("withdrawn"):
        return
    for affected in record.get("affected", ()):
        for package in packages.get(_subject(affected), ()):
            if affects(affected, package.version):
                yield f"{package}: {_title(record)}"


def affects(affected: Record, version: str) -> bool:
    """Tell whether an entry of `affected` covers a version (OSV schema, "Evaluation")."""
    if version in affected.get("versions", ()):
        return True
    ranges = (each for each in affected.get("ranges", ()) if each.get("type") != "GIT")
    return any(_is_within(each.get("events", ()), version) for each in ranges)


def _is_within(events: Sequence[Mapping[str, str]], text: str) -> bool:
    try:
        version = Version(text)
        moments = sorted(_moment(event) for event in events if "limit" not in event)
    except InvalidVersion:
        return True  # it can't be compared: a person has to
    within = False
    for bound, kind in moments:
        if version > bound or (version == bound and kind != "last_affected"):
            within = kind == "introduced"
    return within


def _moment(event: Mapping[str, str]) -> tuple[Version, str]:
    [(kind, text)] = event.items()
    # "0" stands before every version, also before a development release of 0.
    return Version("0.dev0" if (kind, text) == ("introduced", "0") else text), kind


def _subject(affected: Record) -> tuple[str, str]:
    package = affected.get("package", {})
    ecosystem = str(package.get("ecosystem", ""))
    return ecosystem, _normalized(ecosystem, str(package.get("name", "")))


def _normalized(ecosystem: str, name: str) -> str:
    return _SEPARATORS.sub("-", name).lower() if ecosystem == PYPI else name


def _title(record: Record) -> str:
    aliases = ", ".join(record.get("aliases", ()))
    summary = record.get("summary") or str(record.get("details", "")).partition("\n")[0]
    return f"{record['id']}{f' ({aliases})' if aliases else ''} {summary}".rstrip()


def audit(exports: Iterable[Path], packages: frozenset[Package]) -> int:
    """Print what is found; return the exit code."""
    subjects = by_subject(packages)
    found: set[str] = set()
    about: Counter[str] = Counter()
    try:
        for record in chain.from_iterable(map(records, exports)):
            about.update({_subject(affected)[0] for affected in record.get("affected", ())})
            found.update(findings(subjects, record))
    except _UNREADABLE as error:
        print(f"an export can't be read: {error or type(error).__name__}", file=sys.stderr)
        return 2
    missing = {package.ecosystem for package in packages} - about.keys()
    if missing:
        print(f"no advisories for {', '.join(sorted(missing))} in what was given", file=sys.stderr)
        return 2
    print(*sorted(found), f"{len(packages)} versions, {about.total()} advisories", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(audit([Path(text) for text in sys.argv[1:]], locked()))
