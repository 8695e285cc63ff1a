"""The log: one line an event on stderr, as text, JSON or logstash JSON.

Code logs with the standard library. Attributes passed as `extra` become fields of the line, and so
do the fields of `log.fields`. No message can end a line early or imitate a field: text is quoted,
and control characters are escaped.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
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
    access = logging.getLogger(ACCESS_LOGGER)
    access.setLevel(logging.INFO)
    access.disabled = log.accesslog.disabled


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
        self._fixed = dict(log.fields)
        self._report_caller = log.reportcaller

    def gather(self, record: logging.LogRecord) -> dict[str, object]:
        """Return the parts of a line in order: time, level, message, then the fields."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        level = _NAMES.get(record.levelno, record.levelname.lower())
        parts: dict[str, object] = dict(
            zip(self.names, (when.replace("+00:00", "Z"), level, record.getMessage()), strict=True)
        )
        for name, value in (self._fixed | self._facts(record)).items():
            parts[f"fields.{name}" if name in parts else name] = value
        return parts

    def _facts(self, record: logging.LogRecord) -> dict[str, object]:
        facts = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if self._report_caller:
            facts |= {"func": record.funcName, "file": f"{record.pathname}:{record.lineno}"}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return facts


class TextFormatter(_Formatter):
    """`time=... level=info msg="..." name=value`, quoted where necessary."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of text."""
        return " ".join(f"{_word(k)}={_word(v)}" for k, v in self.gather(record).items())


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


def _word(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _BARE_WORD.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _json(parts: Mapping[str, object]) -> str:
    return json.dumps(parts, default=str)
