"""If-None-Match: which of its entity tags are looked at."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from registry_server.v2.responses import not_modified
from storage.values.digest import Digest

DIGEST = Digest.of(b"content")
OTHER = '"other"'


@pytest.mark.parametrize(
    ("before", "is_found"), [(0, True), (63, True), (64, False), (9000, False)]
)
@pytest.mark.parametrize("tag", [f'"{DIGEST}"', f'W/"{DIGEST}"', str(DIGEST), "*"])
def test_so_many_entity_tags_are_looked_at(tag: str, before: int, is_found: bool) -> None:
    """Behind them the content is sent, as to a client that does not have it."""
    value = ", ".join([*[OTHER] * before, tag, OTHER])
    headers = [(b"if-none-match", value.encode())]
    request = Request({"type": "http", "headers": headers})
    assert not_modified(request, DIGEST) is is_found
