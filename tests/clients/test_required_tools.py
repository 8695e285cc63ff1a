"""An absent client is a visible skip, or a failure where all clients are required."""

from __future__ import annotations

import pytest

from tests.support.tools import REQUIRE_VARIABLE, require_tool


def test_an_absent_tool_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a missing client is skipped, and all other tests run."""
    monkeypatch.delenv(REQUIRE_VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-client is not installed"):
        require_tool("no-such-client")


def test_an_absent_tool_fails_where_clients_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """Continuous integration cannot be green without having driven the client."""
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-client is not installed"):
        require_tool("no-such-client")
