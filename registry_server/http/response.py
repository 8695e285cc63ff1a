"""The response class of every handler, which sends header values as UTF-8.

Starlette encodes them as Latin-1 and fails on other characters, so a realm in another script would
make every response a 500. CNCF distribution sends UTF-8, and clients accept it.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette import responses


class Response(responses.Response):
    """A Starlette response whose header values may hold any character but control characters."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Encode the headers; Starlette calls this."""
        super().init_headers({name: _latin(value) for name, value in (headers or {}).items()})


def _latin(value: str) -> str:
    """Return the text whose Latin-1 encoding is the UTF-8 encoding of `value`."""
    return value if value.isascii() else value.encode().decode("latin-1")
