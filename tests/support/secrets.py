"""Finds secrets in logs: every secret of a test run, in each form that a log line could have.

Passwords are known because the code that creates or sends one calls `keep`; tokens, keys of
robots, private keys and hashes are recognized by their form.

One secret is logged on purpose: the password of the user that `serve` creates if the configured
htpasswd file is missing. `told_once` removes it from a log, where it may be once and in no other
line.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, quote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Shorter values and plain words could occur in any line.
SHORTEST = 8
# Nothing of the product logs elsewhere; clients that tests use log what they like.
LOGGERS = ("registry_server", "storage", "registry.access", "registry.audit")

_LOOKS = {
    "a token, or a part of one": r"eyJ[A-Za-z0-9_-]{16,}",
    "the key of a robot": r"\brk_[A-Za-z0-9_-]{16,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "the hash of a password": r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{22,}",
}
_LOOKING = re.compile("|".join(_LOOKS.values()))
_BASIC = re.compile(r"[Bb]asic +([A-Za-z0-9+/]{4,}=*)")
_CREATED = re.compile(
    r"did not exist and was created: the password of its user follows"
    r'.*?\bpassword(?:=|": ")([A-Za-z0-9_-]{43})\b'
)
_PRIVATE = re.compile(r"PRIVATE KEY-----\n(.*?)-----END", re.DOTALL)
_FORM = b"grant_type="

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

_known: set[str] = set()


def keep(secret: str) -> str:
    """Remember a secret for the rest of the run, and return it."""
    assert _is_distinct(secret), "a secret of a test is to be told from all else"
    _known.update(forms(secret))
    return secret


def _is_distinct(secret: str) -> bool:
    return len(secret) >= SHORTEST and not secret.isalpha()


def forms(secret: str) -> Iterator[str]:
    """Yield the forms of a secret in a line: unchanged, escaped, quoted, and within base64."""
    yield secret
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    for quoted in (quote, quote_plus):
        yield quoted(secret)
        yield quoted(secret, safe="")
    for encoded in _within_base64(secret.encode(errors="surrogatepass")):
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")


def _within_base64(secret: bytes) -> Iterator[str]:
    """Yield the part of base64 that a secret determines, whatever comes before and after it."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode()
        yield encoded[(0, 2, 3)[before] : (before + len(secret)) * 8 // 6]


def keep_shown(headers: Iterable[tuple[str, str]]) -> None:
    """Remember the passwords of a request, valid or not, unless they are words."""
    for name, value in headers:
        if name.lower() == "authorization":
            for password in _passwords(value):
                _keep_if_distinct(password)


def _passwords(text: str) -> Iterator[str]:
    for found in _BASIC.finditer(text):
        try:
            decoded = base64.b64decode(found[1]).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        name, colon, password = decoded.partition(":")
        if name and colon:
            yield password


def keep_form(body: bytes) -> None:
    """Remember the secrets of a token request's form."""
    fields = dict(parse_qsl(body.decode("latin-1")))
    for name in ("password", "refresh_token"):
        _keep_if_distinct(fields.get(name, ""))


def _keep_if_distinct(secret: str) -> None:
    # Tokens are recognised by their format: there are too many to record.
    if _is_distinct(secret) and _LOOKING.match(secret) is None:
        keep(secret)


def told(text: str, more: Iterable[str] = ()) -> list[str]:
    """Return the secrets in a text: remembered or recognized ones, and `more`."""
    found = [secret for secret in (*_known, *more) if secret in text]
    found += [each[0] for each in _LOOKING.finditer(text)]
    return found + list(_passwords(text))


def told_once(log: str) -> tuple[str, str]:
    """Return the logged password of a created user, and the log without it.

    Fails unless exactly one such line has one password.
    """
    (found,) = _CREATED.finditer(log)
    return found[1], log[: found.start(1)] + log[found.end(1) :]


def without_told_once(log: str) -> str:
    """Return a log without the password of a created user."""
    if _CREATED.search(log) is None:
        return log
    password, rest = told_once(log)
    keep(password)
    return rest


def nothing_told(text: str, where: object, more: Iterable[str] = ()) -> None:
    """Fail if a text has a secret; report its place and the text around it."""
    __tracebackhide__ = True
    found = told(text, more)
    telling = [line for line in text.splitlines() if any(each in line for each in found)]
    shown = [_masked(line, found) for line in telling[:5]]
    # What tests print is a log, too.
    assert not found, f"{where} tells a secret: {shown}"


def _masked(line: str, secrets: Iterable[str]) -> str:
    for each in sorted(secrets, key=len, reverse=True):
        line = line.replace(each, "<secret>")
    return line


class Witnessed:
    """An application that remembers the passwords it receives."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and remember its passwords."""
        if scope["type"] == "http":
            fields = scope["headers"]
            keep_shown((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)

        async def receive_and_keep() -> Message:
            message = await receive()
            body: bytes = message.get("body", b"")[:10_000]
            if _FORM in body:
                keep_form(body)
            return message

        await self._app(scope, receive_and_keep, send)


class Heard(logging.Handler):
    """All log records of the product in this process, at any level."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []
        self._levels = {name: logging.getLogger(name).level for name in LOGGERS}

    def emit(self, record: logging.LogRecord) -> None:
        """Store a record with all its fields."""
        self.lines.append(f"{self.format(record)} {_facts(record)}")

    def __enter__(self) -> Heard:
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)
            logging.getLogger(name).setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)
            logging.getLogger(name).setLevel(self._levels[name])


def _facts(record: logging.LogRecord) -> Mapping[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def written(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the logs below a folder and their content; pushed content is no log."""
    for path in _files(folder):
        if path.suffix == ".log":
            yield path, path.read_text(errors="replace")


def private_lines(folder: Path) -> set[str]:
    """Return the lines of the private keys below a folder."""
    lines: set[str] = set()
    for path in _files(folder):
        if path.suffix == ".pem":
            for key in _PRIVATE.findall(path.read_text(errors="replace")):
                lines.update(line for line in key.splitlines() if len(line) >= SHORTEST)
    return lines


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "docker"]
        yield from (path for name in names if (path := Path(where, name)).is_file())
