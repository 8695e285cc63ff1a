"""A child process: its function returns and raises as if it had been called here."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from registry_server.config import ConfigError
from registry_server.serving.workers.forked_call import ForkedCall, ForkedCallFailed


def test_what_it_returns_is_returned() -> None:
    """And the call is made in another process."""
    assert ForkedCall(os.getpid).result() != os.getpid()
    assert ForkedCall(os.getppid).result() == os.getpid()


def test_what_it_imports_is_not_imported_here() -> None:
    """Only the child has the module in memory, which is the purpose of the child."""
    name = "pyclbr"
    assert name not in sys.modules

    def imports() -> bool:
        __import__(name)
        return name in sys.modules

    assert ForkedCall(imports).result()
    assert name not in sys.modules


def test_a_result_may_be_larger_than_a_pipe_holds() -> None:
    """The parent reads while the child writes."""
    assert ForkedCall(lambda: b"x" * 300_000).result() == b"x" * 300_000


def test_what_it_raises_is_raised() -> None:
    """With all that the exception holds."""

    def fails() -> None:
        raise ConfigError(["first", "second"])

    with pytest.raises(ConfigError) as caught:
        ForkedCall(fails).result()
    assert caught.value.problems == ("first", "second")


def test_an_unexpected_exception_says_where_it_was_raised() -> None:
    """The traceback of the child is a note of the exception."""

    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        ForkedCall(fails).result()
    assert "in fails" in caught.value.__notes__[0]


def test_an_exit_ends_this_process_with_the_same_code(capfd: pytest.CaptureFixture[str]) -> None:
    """What was printed before it is printed once."""

    def ends() -> None:
        print("the help")
        sys.exit(2)

    with pytest.raises(SystemExit) as caught:
        ForkedCall(ends).result()
    assert caught.value.code == 2
    assert capfd.readouterr().out == "the help\n"


def test_the_child_has_the_same_standard_input() -> None:
    """The configuration may be read from standard input."""

    def same() -> tuple[int, int]:
        found = os.fstat(0)
        return found.st_dev, found.st_ino

    assert ForkedCall(same).result() == same()


def test_a_child_that_is_killed_is_a_failure() -> None:
    """The message says by which signal."""
    with pytest.raises(ForkedCallFailed, match="exit code -9"):
        ForkedCall(lambda: os.kill(os.getpid(), signal.SIGKILL)).result()


def test_a_result_that_cannot_be_sent_is_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    """The child prints why."""
    with pytest.raises(ForkedCallFailed, match="exit code 1"):
        ForkedCall(lambda: lambda: None).result()
    assert "pickle" in capfd.readouterr().err


@pytest.mark.parametrize("error", [OSError("no process"), MemoryError()])
def test_a_child_that_cannot_be_forked_leaves_no_pipe_open(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The supervisor continues, and workers that it forks later would inherit the pipe."""

    def refuse() -> int:
        raise error

    monkeypatch.setattr(os, "fork", refuse)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(type(error)) as caught:
        ForkedCall(os.getpid)
    assert os.listdir("/proc/self/fd") == before
    assert caught.value is error


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_process_group_do_not_end_it(number: signal.Signals) -> None:
    """The parent gets the signal as well, and decides what happens."""

    def signalled() -> str:
        os.kill(os.getpid(), number)
        return "goes on"

    assert ForkedCall(signalled).result() == "goes on"


def test_it_ends_with_its_parent() -> None:
    """Also where the child waits, as it does when the configuration is a pipe without a writer."""
    reader, writer = os.pipe()

    parent = os.fork()
    if parent == 0:
        ForkedCall(signal.pause)  # the child inherits the pipe
        os._exit(0)
    os.close(writer)
    os.waitpid(parent, 0)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b""
