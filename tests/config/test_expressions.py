"""Expressions are in Go's syntax, and one that Go refuses is an error."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry_server.config import Settings
from registry_server.config.expression import Expression
from registry_server.config.validation import validated

HOSTS = "|".join(rf"host{number}\.example\.com" for number in range(1000))


@pytest.mark.parametrize(
    ("text", "url", "matches"),
    [
        (r"^https?://([^/]+\.)*example\.com/", "https://a.b.example.com/x", True),
        (r"^https?://([^/]+\.)*example\.com/", "http://" + "a." * 40 + "b/", False),
        ("example", "https://example.com/", True),
        ("^example", "https://example.com/", False),
        ("(?i)EXAMPLE", "https://example.com/", True),
        ("[[:^alpha:]]x", "ax1x", True),
        ("^[[:word:]]+$", "a_1", True),
        (r"^\w$", "é", False),
        (r"^\pL$", "é", True),
        ("^.$", "\U0001f600", True),
        ("a$", "a\n", False),
        ("^b", "a\nb", False),
        ("(?m)^b", "a\nb", True),
        ("a.b", "a\nb", False),
        ("(?s)a.b", "a\nb", True),
        (r"\Qa+b\E", "a+b", True),
        (r"\Q\C\E", r"a\C", True),
        (r"\\C", r"a\C", True),
        (r"a\z", "ba", True),
        ("a{,2}", "a{,2}", True),
        ("(?P<host>a)", "a", True),
        ("", "", True),
        (HOSTS, "https://host999.example.com/", True),
    ],
)
def test_an_expression_matches_as_in_go(text: str, url: str, matches: bool) -> None:
    """It matches anywhere; classes are ASCII; a dot is a character, of any number of bytes."""
    assert Expression.parse(text).compiled().matches(url.encode()) == matches


@pytest.mark.parametrize(
    "text",
    ["(", "[a", "*", "a**", "a++", "a{1001}", "(a{100}){11}", "a{2,1}", "(?=a)", "(?!a)", "(?<=a)b",
     r"(a)\1", r"\Z", r"\C", r"x\Qy\E\C", r"\\\C", "(?x)a", r"\h", r"\8", r"\x{110000}", r"\pX",
     "[[:foo:]]", "(?P<>a)", "\\", r"\é", "[b-a]", "(?>a)", "(?#a)", ")"],
)  # fmt: skip
def test_an_expression_that_go_refuses_is_refused(text: str) -> None:
    """Another interpretation would allow or deny other URLs than intended."""
    with pytest.raises(ValueError, match=r"^[a-zC\\]"):
        Expression.parse(text)


def test_the_memory_of_an_expression_is_limited() -> None:
    """One that needs more is refused before the server starts; the message has the limit."""
    with pytest.raises(ValueError, match="needs more than 8 MiB of memory"):
        Expression.parse(r"\pL{1000}")


TEXTS = st.lists(
    st.sampled_from([*r"ab.*+?|()[]{}^$\-,:/=!<>Pims0123456789", r"\C", r"\Q", r"\E", r"\pL", "é",
                     "(?:", "(?i)", "[^/]", "[[:alpha:]]", "{2,}", "{1000}", "\ud800", "\0", "\n"]),
    max_size=20,
).map("".join)  # fmt: skip


@given(
    TEXTS | st.text(max_size=20),
    st.text(max_size=50).map(lambda url: url.encode("utf-8", "replace")),
)
@example("(" * 5000 + ")" * 5000, b"")
@example("((a{30}){30}){30}", b"a")
@example("(((((a*)*)*)*)*)*b", b"a" * 10_000)
def test_every_text_is_refused_or_compiles(text: str, url: bytes) -> None:
    """It is refused with a reason, or compiles and can be matched with every URL."""
    try:
        expression = Expression.parse(text)
    except ValueError:
        return
    matcher = expression.compiled()
    assert matcher.size > 0
    assert matcher.matches(url) in (True, False)


def test_settings_with_expressions_can_be_pickled() -> None:
    """Equal settings stay equal, and unpickling does not compile the expressions."""
    urls = {"allow": ["^a"], "deny": ["b$"]}
    settings = validated(Settings, {"validation": {"manifests": {"urls": urls}}})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert settings.validation.manifests.urls.allow == (Expression("^a"),)


@pytest.mark.parametrize(("urls", "imported"), [("{}", False), ("{'allow': ['^a']}", True)])
def test_the_engine_is_imported_only_for_expressions(urls: str, imported: bool) -> None:
    """A server without expressions does not load it."""
    program = f"""
import sys
from registry_server.wiring.app import build
from registry_server.config import Settings
from registry_server.config.validation import validated
from storage.drivers.memory import MemoryDriver
settings = validated(Settings, {{"validation": {{"manifests": {{"urls": {urls}}}}}}})
build(settings, MemoryDriver())
print("re2" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(imported)
