"""An expression matches the same URLs as in Debian's docker-registry, which uses Go's library."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from registry_server.config.expression import Expression
from storage.values.url_policy import UrlPolicy
from tests.support.servers import DistributionServer
from tests.support.wire import DOCKER_MANIFEST, sha256

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
CONFIG, LAYER = b"{}", b"x"
# Each example starts a server, so it has many expressions and is not shrunk by hypothesis.
ONE_SERVER = settings(
    max_examples=2,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck],
)

ATOMS = st.sampled_from(
    ["a", "b", ".", "/", "é", r"\.", "[ab]", "[^/]", "[^a-c]", "[[:alpha:]]", "[[:^alnum:]]", r"\w",
     r"\W", r"\d", r"\s", r"\b", r"\B", r"\pL", r"\PL", r"\p{Greek}", "[[:word:]-]", r"[\d\pL]",
     "$", "^", r"\A", r"\z", "", r"\Qa.b\E", r"\x61", r"\x{e9}", r"\141", "[]a]", "[^]]", "{",
     "a{,2}", "(?i)", "(?i:B)", "(?s:.)", "(?m:^b$)", "(?U)", "(?-s)", "k", "S"]
)  # fmt: skip
REPEATS = st.sampled_from(["", "", "", "*", "+", "?", "*?", "+?", "{2}", "{0,2}", "{2,}", "{0}"])
TEXTS = st.text(st.sampled_from("ababab./ékKsS\u017f\u212a1_- λ\ufffd\U0001f600"), max_size=12)


def _grown(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({}){}".format, part, REPEATS),
        st.builds("(?:{}){}".format, part, REPEATS),
        st.builds("{}|{}".format, part, part),
        st.lists(part, min_size=1, max_size=4).map("".join),
    )


EXPRESSIONS = st.recursive(st.builds("{}{}".format, ATOMS, REPEATS), _grown, max_leaves=8)


class Reference(DistributionServer):
    """Debian's docker-registry that allows the URLs that match one of `expressions`."""

    def __init__(self, folder: Path, expressions: Sequence[str]) -> None:
        super().__init__(folder)
        self.expressions = expressions

    def starts(self) -> bool:
        """Start it, and stop it again; tell whether it began to listen."""
        with subprocess.Popen(
            self.command(), stderr=subprocess.PIPE, env=dict(self.environment())
        ) as process:
            assert process.stderr is not None
            line = next(each for each in process.stderr if b"panic:" in each or b"listen" in each)
            process.kill()
        return b"panic:" not in line

    def allows(self, url: str) -> bool:
        """Push a manifest whose layer has a URL; tell whether it is accepted.

        Version 2.8 reports a URL that it does not allow as a server error.
        """
        layer = {"mediaType": FOREIGN, "digest": sha256(LAYER), "size": 1, "urls": [url]}
        config = {"mediaType": "application/json", "digest": sha256(CONFIG), "size": len(CONFIG)}
        document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST}
        raw = json.dumps({**document, "config": config, "layers": [layer]}).encode()
        headers = {"Content-Type": DOCKER_MANIFEST}
        answer = self.wire.request("PUT", "/v2/a/manifests/latest", raw, headers)
        assert answer.status == 201 or (answer.status == 500 and b"blob unknown" in answer.body)
        return answer.status == 201

    def _config(self) -> dict[str, object]:
        urls = {"allow": list(self.expressions)}
        log = {"level": "info", "accesslog": {"disabled": True}}
        return {**super()._config(), "log": log, "validation": {"manifests": {"urls": urls}}}


def is_accepted(text: str) -> bool:
    """Tell whether a configuration of this registry may have an expression."""
    try:
        Expression.parse(text)
    except ValueError:
        return False
    return True


@ONE_SERVER
@given(
    st.lists(
        st.tuples(EXPRESSIONS.filter(is_accepted), st.lists(TEXTS, min_size=3, max_size=3)),
        min_size=150,
        max_size=150,
    )
)
def test_an_expression_matches_as_in_go(tmp_path: Path, cases: list[tuple[str, list[str]]]) -> None:
    """Each has a part of the URL to itself, at its begin or end, as the server has one list."""
    expressions, urls = [], []
    for number, (text, parts) in enumerate(cases):
        if number % 2:
            expressions.append(f"(?:{text})(?s:.*)/only{number}/$")
            urls += [f"https://a.b/{part}/only{number}/" for part in parts]
        else:
            expressions.append(f"^https://only{number}/(?s:.*)(?:{text})")
            urls += [f"https://only{number}/{part}" for part in parts]
    rules = UrlPolicy(allow=tuple(Expression.parse(each).compiled() for each in expressions))
    with Reference(tmp_path, expressions) as reference:
        for blob in (CONFIG, LAYER):
            reference.wire.push_blob("a", blob)
        allowed = [url for url in urls if reference.allows(url)]
    assert allowed
    assert [url for url in urls if rules.permits(url)] == allowed


@ONE_SERVER
@given(st.lists(EXPRESSIONS | st.lists(ATOMS | REPEATS).map("".join), min_size=15, max_size=15))
def test_an_expression_is_refused_where_go_refuses_it(tmp_path: Path, texts: list[str]) -> None:
    """Both servers start with the same expressions."""
    for text in texts:
        assert Reference(tmp_path, [text]).starts() == is_accepted(text), text
