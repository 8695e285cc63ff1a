"""If-None-Match: the number of entity tags that are compared."""

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
def test_the_number_of_entity_tags_is_limited(tag: str, before: int, is_found: bool) -> None:
    """A match after them is ignored, and the content is sent."""
    value = ", ".join([*[OTHER] * before, tag, OTHER])
    headers = [(b"if-none-match", value.encode())]
    request = Request({"type": "http", "headers": headers})
    assert not_modified(request, DIGEST) is is_found
