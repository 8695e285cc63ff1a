"""`http.accelredirect` is empty or the path of a location, with one final slash."""

import pytest

from registry_server.config.load import load
from tests.config.conftest import Read, Refuse


@pytest.mark.parametrize(
    ("written", "location"),
    [
        ("", ""),
        ("''", ""),
        ("/blobs-internal/", "/blobs-internal/"),
        ("/blobs-internal", "/blobs-internal/"),
        ("/blobs-internal///", "/blobs-internal/"),
        ("/a/b_c/d.e-1/", "/a/b_c/d.e-1/"),
    ],
)
def test_a_location_ends_with_one_slash(read: Read, written: str, location: str) -> None:
    """A digest's path can be appended to every accepted form; an empty value turns it off."""
    settings = read(f"version: 0.1\nhttp: {{accelredirect: {written}}}\n").settings
    assert settings.http.accelredirect == location


def test_it_is_off_unless_it_is_set() -> None:
    """The registry sends blobs itself by default; the variable turns the redirect on."""
    assert load(None, {}).settings.http.accelredirect == ""
    found = load(None, {"REGISTRY_HTTP_ACCELREDIRECT": "/x"})
    assert found.settings.http.accelredirect == "/x/"
    assert found.warnings == ()


@pytest.mark.parametrize(
    "written",
    [
        "blobs/", "/", "//", "'@blobs'", "https://example.com/x", "/a//b/", "/a/../b/", "/..", "/.",
        "/.hidden/", "/a b/", "/a%2fb/", "/a?b=c", "/a#b", r'"/a\r\nX-Evil: 1/"', '"/a\\n"',
        r'"/a\0"', "/é/", "' /a/'", "'/a/ '", "'/a;b/'", "'/$uri/'", "[/a/]",
    ],
)  # fmt: skip
def test_a_path_that_nginx_would_normalize_is_refused(refuse: Refuse, written: str) -> None:
    """Only plain segments: none that is empty, goes up, or has a special character."""
    (problem,) = refuse(f"version: 0.1\nhttp:\n  accelredirect: {written}\n")
    assert problem.startswith("config.yml, line 3: http.accelredirect must be ")
