"""The error envelope as a value: its rendering, and the limit for a message."""

from __future__ import annotations

import json

import pytest

from registry_server.http import envelope


def test_entries_are_rendered_in_order_with_their_detail() -> None:
    """An entry without a detail has no such member."""
    entries = [envelope.entry("A", "one", {"digest": "d"}), envelope.entry("B", "two")]
    assert json.loads(envelope.body(entries)) == {
        "errors": [
            {"code": "A", "message": "one", "detail": {"digest": "d"}},
            {"code": "B", "message": "two"},
        ]
    }


@pytest.mark.parametrize("text", ["x" * 999, "x" * 1000, "…" * 1000, "", "\ud800\x00"])
def test_a_short_message_is_unchanged(text: str) -> None:
    """Up to 1,000 characters of any kind."""
    (entry,) = json.loads(envelope.body([envelope.entry("A", text)]))["errors"]
    assert entry["message"] == text


@pytest.mark.parametrize("length", [1001, 64 << 10])
def test_a_long_message_is_cut(length: int) -> None:
    """It then has 1,000 characters, and the last one is an ellipsis."""
    message = envelope.entry("A", "x" * length)["message"]
    assert message == "x" * 999 + "…"


def test_the_last_headers_close_the_connection_and_count_bytes() -> None:
    """Names are in lower case, as ASGI requires; the length is that of the body."""
    assert dict(envelope.last_headers(b"12345")) == {
        b"docker-distribution-api-version": b"registry/2.0",
        b"content-type": b"application/json",
        b"content-length": b"5",
        b"connection": b"close",
        b"x-content-type-options": b"nosniff",
    }
