"""The lines of an htpasswd file, `name:hash`, as Apache's `htpasswd -B` writes them.

Only bcrypt is supported, as in CNCF distribution. A line that cannot be used is skipped with a
warning, so one typing mistake does not lock out every user. As in distribution, the last line of a
name counts, and text after the hash is ignored.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from registry_server.access.users.basic import has_controls
from registry_server.config.problems import Place, Problem
from registry_server.files.watched_file import PAUSE, WatchedFile, read_small

Users: TypeAlias = Mapping[str, bytes]

logger = logging.getLogger(__name__)

# A hash of cost 20 occupies a thread for a minute. The threads are few and cannot be interrupted.
LOWEST_COST, HIGHEST_COST = 4, 20

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# For each file: a wrong file may have a million lines.
_MOST_WARNINGS = 20

# distribution ignores the letter after `$2`; these are the letters in use.
_BCRYPT = re.compile(
    rb"\$2(?P<letter>[abxy]?)\$(?P<cost>[0-9]{2})\$"
    rb"(?P<salt>[./A-Za-z0-9]{21})(?P<last>[./A-Za-z0-9])(?P<sum>[./A-Za-z0-9]{31})"
)
_ALPHABET = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SKIPPED = "the line is skipped"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a line. Lines count from one; `reason` never quotes the line."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class HtpasswdFile:
    """The users of a file, with their hashes and lines, and the faults of its lines."""

    users: Users
    faults: tuple[Fault, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)

    def warnings(self, path: Path, more_faults: Iterable[Fault] = ()) -> tuple[Problem, ...]:
        """Return a warning for each fault, with the file and the line number; at most 21."""
        faults = (*self.faults, *more_faults)
        warnings = [Problem(Place(str(path), fault.line), "", fault.reason) for fault in faults]
        more = len(warnings) - _MOST_WARNINGS
        if more > 0:
            text = f"{more} more lines have such faults"
            warnings[_MOST_WARNINGS:] = [Problem(Place(str(path)), "", text)]
        return tuple(warnings)


def parse_htpasswd(content: bytes) -> HtpasswdFile:
    """Parse the content of a file; blank lines and lines that begin with `#` are ignored.

    A line that cannot be used is a fault. It also cancels earlier lines of the same name: a hash
    that was made unusable on purpose must not reactivate an older password.
    """
    users: dict[str, bytes] = {}
    lines: dict[str, int] = {}
    faults: list[Fault] = []
    seen: set[str] = set()
    for number, line in _entries(content.removeprefix(_BYTE_ORDER_MARK)):
        name, _, rest = line.partition(b":")
        try:
            user = _name(name, is_entry=b":" in line)
            if user in seen:
                faults.append(Fault(number, "repeats a name, and the last line of a name counts"))
            seen.add(user)
            users.pop(user, None)
            users[user], ignored = _hash(rest)
            lines[user] = number
        except ValueError as error:
            faults.append(Fault(number, f"{error}: {_SKIPPED}"))
        else:
            if ignored:
                faults.append(Fault(number, "has text after the hash, which is ignored"))
    return HtpasswdFile(MappingProxyType(users), tuple(faults), lines)


def watch_htpasswd(path: Path, pause: float = PAUSE) -> WatchedFile[Users]:
    """Read a file of users and watch it; raise OSError or ValueError as `WatchedFile` (blocks).

    The file is checked for changes at most once in `pause` seconds. Faults are logged when it has
    changed, but not at the first read: `serve` has logged them before it started the workers.
    """
    return WatchedFile(path, _UserReader(path), pause)


def read_htpasswd(path: Path) -> HtpasswdFile:
    """Read a file of users once (blocks).

    Raises OSError, or ValueError for a folder or a file that is too large.
    """
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder, and auth.htpasswd.path must name a file "
            "(Docker creates a folder where the file to be mounted does not exist)"
        )
    return parse_htpasswd(read_small(path))


class _UserReader:
    """Parses the content of a watched file, and logs its faults from the second read on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_first = True

    def __call__(self, content: bytes) -> Users:
        file = parse_htpasswd(content)
        if not self._is_first:
            for warning in file.warnings(self._path):
                logger.warning("%s", warning)
        self._is_first = False
        return file.users


def _entries(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the text of each line that is neither blank nor a comment."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        entry = line.strip()
        if entry and not entry.startswith(b"#"):
            yield number, entry


def _name(encoded: bytes, *, is_entry: bool) -> str:
    if not encoded or not is_entry:
        raise ValueError("is not name:hash")
    try:
        name = encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("has a name that is not UTF-8") from None
    if has_controls(name):
        raise ValueError("has control characters in the name")
    return name


def _hash(text: bytes) -> tuple[bytes, bytes]:
    """Return the bcrypt hash at the start of `text`, and the text after it; raise ValueError.

    The hash is normalized for the library `bcrypt`: the lowest four bits of the salt's last
    character carry no salt and must be zero.
    """
    match = _BCRYPT.match(text)
    if match is None or not LOWEST_COST <= int(match["cost"]) <= HIGHEST_COST:
        raise ValueError(f"has no bcrypt hash of a cost from {LOWEST_COST} to {HIGHEST_COST}")
    last = _ALPHABET[_ALPHABET.index(match["last"]) & 0b110000]
    letter = match["letter"] if match["letter"] in (b"a", b"y") else b"b"
    hash = b"$2%b$%b$%b%c%b" % (letter, match["cost"], match["salt"], last, match["sum"])
    return hash, text[match.end() :]
