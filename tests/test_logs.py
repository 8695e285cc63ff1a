"""The log is one line for each event, in three forms, and what is logged cannot forge a line."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_server import logs
from registry_server.config import LogSettings
from registry_server.config.validation import validated

CONFIGURATION = Path(__file__).parents[1] / "docs/configuration.md"
# The lines of the access log, and what each line of the log has.
_EXAMPLE = re.compile(r"^.*(?:msg=|: \")access\b.*$", re.MULTILINE)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_WHEN = "2026-01-01T12:00:00.000Z"
_OF_ALL = ("time", "level", "msg")

UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access")
LOGGERS = (*UVICORN, logs.ACCESS_LOGGER, "registry.test")


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    """Put the process's logging back as it was."""
    names: tuple[str | None, ...] = (None, *LOGGERS)
    before = [(logging.getLogger(name), dict(vars(logging.getLogger(name)))) for name in names]
    handlers = [list(logger.handlers) for logger, _ in before]
    yield
    for (logger, state), old in zip(before, handlers, strict=True):
        logger.handlers[:] = old
        logger.setLevel(state["level"])
        logger.propagate, logger.disabled = state["propagate"], state["disabled"]


def _log(**values: Any) -> LogSettings:
    return validated(LogSettings, values)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_line_of_text_has_time_level_message_and_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Fixed fields and the event's own facts follow the message; what needs quotes has them."""
    logs.configure(_log(fields={"service": "registry"}))
    logging.getLogger("registry.test").info(
        "hello %s", "you", extra={"digest": "sha256:ab", "n": 1}
    )
    (line,) = _lines(capsys)
    when, rest = line.split(" ", 1)
    assert datetime.fromisoformat(when.removeprefix("time=")).tzinfo is not None
    assert rest == 'level=info msg="hello you" service=registry digest=sha256:ab n=1'


def test_a_line_of_json_has_the_same_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object, with the fields at its top."""
    logs.configure(_log(formatter="json", fields={"service": "registry", "msg": "clash"}))
    logging.getLogger("registry.test").warning("hello", extra={"n": 1})
    (line,) = _lines(capsys)
    parts = json.loads(line)
    assert datetime.fromisoformat(parts.pop("time")).tzinfo is not None
    assert parts == {
        "level": "warning",
        "msg": "hello",
        "service": "registry",
        "fields.msg": "clash",
        "n": 1,
    }


def test_a_line_for_logstash_has_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Version 1 of logstash's event format."""
    logs.configure(_log(formatter="logstash"))
    logging.getLogger("registry.test").error("hello")
    (line,) = _lines(capsys)
    parts = json.loads(line)
    assert datetime.fromisoformat(parts.pop("@timestamp")).tzinfo is not None
    assert parts == {"@version": "1", "level": "error", "message": "hello"}


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("error", ["error"]),
        ("warn", ["warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("debug", ["debug", "info", "warning", "error"]),
    ],
)
def test_the_level_decides_what_is_logged(
    capsys: pytest.CaptureFixture[str], level: str, expected: list[str]
) -> None:
    """Distribution's names of levels, each with those above it."""
    logs.configure(_log(level=level, formatter="json"))
    logger = logging.getLogger("registry.test")
    logger.debug("m")
    logger.info("m")
    logger.warning("m")
    logger.error("m")
    assert [json.loads(line)["level"] for line in _lines(capsys)] == expected


def test_the_access_log_is_written_at_any_level_unless_disabled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Quieting the log does not silence the access log; its own key does, and can be undone."""
    access = logging.getLogger(logs.ACCESS_LOGGER)
    for disabled in (False, True, False):
        logs.configure(_log(level="error", accesslog={"disabled": disabled}))
        access.info("GET")
    assert len(_lines(capsys)) == 2


def test_uvicorn_logs_the_same_way_and_its_access_log_is_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Handlers that uvicorn set up are gone, and its lines look like ours.

    What each worker does to start and stop is a detail.
    """
    for name in UVICORN:
        logging.getLogger(name).addHandler(logging.StreamHandler())
        logging.getLogger(name).propagate = False
    for level in ("info", "debug"):
        logs.configure(_log(formatter="json", level=level))
        error = logging.getLogger("uvicorn.error")
        error.info("started", extra={"color_message": "\x1b[1mstarted"})
        logging.getLogger("uvicorn.access").info("GET")
    (line,) = _lines(capsys)
    assert (json.loads(line)["msg"], json.loads(line)["level"]) == ("started", "debug")
    assert "color_message" not in json.loads(line)
    error.error("failed")
    assert len(_lines(capsys)) == 1


def test_configuring_again_replaces_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The last configuration holds, and each event is one line."""
    logs.configure(_log(formatter="text", fields={"run": "one"}))
    logs.configure(_log(formatter="json", fields={"run": "two"}))
    logs.configure(_log(formatter="json", fields={"run": "two"}))
    logging.getLogger("registry.test").info("m")
    (line,) = _lines(capsys)
    assert json.loads(line)["run"] == "two"


def test_the_caller_is_reported_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The function, and the file with the line."""
    logs.configure(_log(formatter="json", reportcaller=True))
    logging.getLogger("registry.test").info("m")
    parts = json.loads(_lines(capsys)[0])
    assert parts["func"] == "test_the_caller_is_reported_when_asked_for"
    assert parts["file"].rsplit(":", 1)[0] == __file__


@pytest.mark.parametrize("formatter", ["text", "json", "logstash"])
def test_the_documented_lines_of_the_access_log_are_written(
    capsys: pytest.CaptureFixture[str], formatter: str
) -> None:
    """The fields of the JSON example give the examples of all formatters, except for the time."""
    text, _, plain, logstash = _EXAMPLE.findall(CONFIGURATION.read_text())
    fields = {name: value for name, value in json.loads(plain).items() if name not in _OF_ALL}
    logs.configure(_log(formatter=formatter))
    for _ in range(2):  # the second one has cached words
        logs.log_event(logging.getLogger(logs.ACCESS_LOGGER), "access", fields)
    expected = {"text": text, "json": plain, "logstash": logstash}[formatter]
    assert [_TIME.sub(_WHEN, line) for line in _lines(capsys)] == [expected] * 2


def test_a_field_of_an_event_gives_way_to_a_part_of_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As with `extra`; configured fields may have values of any type."""
    logs.configure(_log(fields={"service": ["a", "b"], "on": True}))
    # Equal values of different types are different words.
    event = {"msg": "clash", "flag": True, "n": 1, "ms": 1.0}
    logs.log_event(logging.getLogger("registry.test"), "x", event)
    (line,) = _lines(capsys)
    fields = line.partition("msg=x ")[2]
    assert fields == """service="['a', 'b']" on=true fields.msg=clash flag=true n=1 ms=1.0"""


@pytest.mark.parametrize("formatter", ["text", "json", "logstash"])
def test_an_exception_is_part_of_its_line(
    capsys: pytest.CaptureFixture[str], formatter: str
) -> None:
    """A traceback does not break the rule of one line for each event."""
    logs.configure(_log(formatter=formatter))
    try:
        raise OSError("disk")
    except OSError:
        logging.getLogger("registry.test").exception("failed")
    (line,) = _lines(capsys)
    assert "OSError: disk" in line
    assert "Traceback" in line


@pytest.mark.parametrize("formatter", ["text", "json", "logstash"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    message=st.text(),
    name=st.text(min_size=1).map(lambda text: f"x{text}"),
    value=st.one_of(st.text(), st.integers(), st.binary(max_size=5), st.none()),
    fields=st.dictionaries(st.text(), st.text(), max_size=2),
)
def test_nothing_that_is_logged_can_begin_a_new_line(
    capsys: pytest.CaptureFixture[str],
    formatter: str,
    message: str,
    name: str,
    value: object,
    fields: dict[str, object],
) -> None:
    """Whatever the message and the facts hold, an event is one line of printable characters."""
    logs.configure(_log(formatter=formatter, fields=fields))
    logging.getLogger("registry.test").info("%s", message, extra={name: value})
    captured = capsys.readouterr().err
    assert captured.endswith("\n")
    assert captured[:-1].isprintable()


_UNCAUGHT = """
import threading, warnings
from registry_server import logs
from registry_server.config import LogSettings

class Unraisable:
    def __del__(self):
        raise ValueError("while it was collected")

def fail():
    raise ValueError("in a thread")

logs.configure(LogSettings(formatter="json"))
logs.adopt_interpreter()
warnings.warn("a warning\\nof two lines")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
Unraisable()
raise ValueError("at the top")
"""


def test_what_the_interpreter_would_print_is_logged() -> None:
    """Warnings, and exceptions that nothing caught, with their tracebacks: a line of JSON each."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", _UNCAUGHT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "error", "error", "fatal"]
    words = ("of two lines", "in a thread", "Unraisable", "at the top")
    assert all(word in line["msg"] for word, line in zip(words, lines, strict=True))
    assert all("ValueError" in line["traceback"] for line in lines[1:])
    assert done.returncode == 1
