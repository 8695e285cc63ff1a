"""The log: one line an event on stderr, as text, JSON or logstash JSON.

Code logs with the standard library. Attributes passed as `extra` become fields of the line, and so
do the fields of `log.fields`. Lines of each request are logged by `log_event`. No message can end a
line early or imitate a field: text is quoted, and control characters are escaped.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any

from registry_server.config import LogSettings

logger = logging.getLogger(__name__)

ACCESS_LOGGER = "registry.access"

_LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_NAMES = {
    logging.CRITICAL: "fatal",
    logging.ERROR: "error",
    logging.WARNING: "warning",
    logging.INFO: "info",
    logging.DEBUG: "debug",
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
LONGEST_PATH = 1024  # characters of a request's path in a line
# The attribute of a record that has all of its fields.
_FIELDS = "registry.fields"
_MOST_WORDS = 1024  # that are cached with their quotes
_BARE_WORD = re.compile(r"[A-Za-z0-9._/@^+:-]+", re.ASCII)


class RegistryHandler(logging.StreamHandler[Any]):
    """The handler; a class of its own, so that `configure` finds and replaces the previous one."""


def configure(log: LogSettings) -> None:
    """Send every logger of this process to stderr as `log` says; the last call wins.

    This includes uvicorn's loggers, whose `info` becomes `debug`. Its access log is off; ours is
    the logger `registry.access`, which is written at any level unless `log.accesslog.disabled`.
    """
    handler = RegistryHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[log.formatter](log))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, RegistryHandler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(_LEVELS[log.level])
    _adopt_uvicorn()
    # No formatter of ours uses these parts of a record, and finding them takes time for each line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    access = logging.getLogger(ACCESS_LOGGER)
    access.setLevel(logging.INFO)
    access.disabled = log.accesslog.disabled


def log_event(logger: logging.Logger, message: str, fields: Mapping[str, object]) -> None:
    """Log `message` at level info, with `fields`: short texts and numbers, which may be cached.

    It takes half as long as `logger.info` with `extra`, which finds the caller in the stack, and
    makes an attribute of each field that a formatter has to find again.
    """
    if logger.isEnabledFor(logging.INFO):
        extra = {_FIELDS: fields}
        logger.handle(
            logger.makeRecord(
                logger.name, logging.INFO, __file__, 0, message, (), None, log_event.__name__, extra
            )
        )


def cut(text: str, most: int) -> str:
    """Return `text`, or its start and `…` if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def adopt_interpreter() -> None:
    """Log what the interpreter would print: warnings and uncaught exceptions."""
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("uncaught exception: %r", error, exc_info=(kind, error, trace))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    if error is None or isinstance(error, SystemExit):
        return
    logger.error("uncaught exception in a thread: %r", error, exc_info=error)


def _log_unraisable(arguments: sys.UnraisableHookArgs) -> None:
    text = arguments.err_msg or "ignored exception in"
    logger.error("%s: %r", text, arguments.object, exc_info=arguments.exc_value)


def _adopt_uvicorn() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        adopted = logging.getLogger(name)
        adopted.handlers.clear()
        adopted.setLevel(logging.NOTSET)
        adopted.propagate = True
        adopted.addFilter(_demote)
    silent = logging.getLogger("uvicorn.access")
    silent.handlers.clear()
    silent.propagate = False
    silent.disabled = True


def _demote(record: logging.LogRecord) -> bool:
    """Lower uvicorn's `info` records to `debug`; return whether the record is logged."""
    if record.levelno == logging.INFO:
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return logging.getLogger().isEnabledFor(record.levelno)


class _Formatter(logging.Formatter):
    """Collects the parts of a line; subclasses name and render them."""

    names = ("time", "level", "msg")

    def __init__(self, log: LogSettings) -> None:
        super().__init__()
        self._fixed: dict[str, object] = dict(log.fields)
        self._report_caller = log.reportcaller

    def gather(self, record: logging.LogRecord) -> dict[str, object]:
        """Return the parts of a line in order: time, level, message, then the fields."""
        time, level, message = self.names
        parts: dict[str, object] = {
            time: f"{_second(int(record.created))}.{int(record.msecs):03}Z",
            level: _NAMES.get(record.levelno) or record.levelname.lower(),
            message: record.getMessage(),
        }
        fields = self._facts(record)
        if self._fixed:
            fields = self._fixed | fields
        if parts.keys().isdisjoint(fields):
            return parts | fields
        for name, value in fields.items():
            parts[f"fields.{name}" if name in parts else name] = value
        return parts

    def _facts(self, record: logging.LogRecord) -> dict[str, object]:
        attributes = vars(record)
        facts: dict[str, object] | None = attributes.get(_FIELDS)
        if facts is None:
            facts = {name: value for name, value in attributes.items() if name not in _STANDARD}
        if self._report_caller:
            facts = facts | {"func": record.funcName, "file": f"{record.pathname}:{record.lineno}"}
        if record.exc_info:
            facts = facts | {"traceback": self.formatException(record.exc_info)}
        return facts


class TextFormatter(_Formatter):
    """`time=... level=info msg="..." name=value`, quoted where necessary."""

    def __init__(self, log: LogSettings) -> None:
        super().__init__(log)
        self._fixed = {name: _text(value) for name, value in log.fields.items()}

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of text."""
        # Unlike other lines, those of `log_event` have no values that are long or can't be cached.
        word = _cached_word if _FIELDS in vars(record) else _word
        return " ".join([f"{_cached_word(k)}={word(v)}" for k, v in self.gather(record).items()])


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        return _json(self.gather(record))


class LogstashFormatter(_Formatter):
    """JSON with the names of logstash's event format, version 1."""

    names = ("@timestamp", "level", "message")

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        return _json({"@version": "1", **self.gather(record)})


_FORMATTERS = {"text": TextFormatter, "json": JsonFormatter, "logstash": LogstashFormatter}


@lru_cache(maxsize=1)
def _second(time: int) -> str:
    """Return a Unix time in ISO format, without its zone."""
    return datetime.fromtimestamp(time, UTC).replace(tzinfo=None).isoformat()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _word(value: object) -> str:
    """Return a value as one word: in quotes, unless it has only harmless characters."""
    text = _text(value)
    if _BARE_WORD.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


# Most words of a line about a request are those of the requests before. By type, because 1 equals
# 1.0 and True, which are other words.
_cached_word = lru_cache(maxsize=_MOST_WORDS, typed=True)(_word)
# `json.dumps` with options makes an encoder for each call.
_json: Callable[[Mapping[str, object]], str] = json.JSONEncoder(default=str).encode
