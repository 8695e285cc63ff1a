"""The error envelope as a value: what it is rendered to, and how much of a message it takes."""

from __future__ import annotations

import json

import pytest

from registry_server.http import envelope


def test_entries_are_rendered_in_order_with_their_detail() -> None:
    """What has no detail has no member of that name either."""
    entries = [envelope.entry("A", "one", {"digest": "d"}), envelope.entry("B", "two")]
    assert json.loads(envelope.body(entries)) == {
        "errors": [
            {"code": "A", "message": "one", "detail": {"digest": "d"}},
            {"code": "B", "message": "two"},
        ]
    }


@pytest.mark.parametrize("text", ["x" * 999, "x" * 1000, "…" * 1000, "", "\ud800\x00"])
def test_a_message_that_fits_is_left_alone(text: str) -> None:
    """Up to 1,000 characters, of whatever kind, come out as they went in."""
    (entry,) = json.loads(envelope.body([envelope.entry("A", text)]))["errors"]
    assert entry["message"] == text


@pytest.mark.parametrize("length", [1001, 64 << 10])
def test_a_message_that_does_not_fit_is_cut(length: int) -> None:
    """It has 1,000 characters then, and the last of them says that there were more."""
    message = envelope.entry("A", "x" * length)["message"]
    assert message == "x" * 999 + "…"


def test_the_last_headers_close_the_connection_and_count_bytes() -> None:
    """Names in small letters, as ASGI wants them; the length is that of the body given."""
    assert dict(envelope.last_headers(b"12345")) == {
        b"docker-distribution-api-version": b"registry/2.0",
        b"content-type": b"application/json",
        b"content-length": b"5",
        b"connection": b"close",
        b"x-content-type-options": b"nosniff",
    }
