"""Each configuration is served as by docker-registry, apart from the reviewed differences."""

from __future__ import annotations

import pytest

from tests.support.tools import require_namespaces, require_tool
from tests.switch.cases import cases
from tests.switch.differences import Comparison, Difference, compare, differences, load
from tests.switch.observations import observe_all
from tests.switch.questions import QUESTIONS

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(900)]

HOW = "look at it; `python -m tests.switch` writes the file again"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Difference]:
    """Serve every configuration with both servers, and return all differences."""
    require_tool("docker-registry")
    require_namespaces()
    return list(differences(observe_all(cases(), tmp_path_factory.mktemp("switch"))))


@pytest.fixture(scope="module")
def comparison(found: list[Difference]) -> Comparison:
    """Return the comparison of observed and reviewed differences."""
    return compare(found, load())


def test_every_difference_is_reviewed(comparison: Comparison) -> None:
    """Each is in differences.yaml."""
    assert comparison.new == [], HOW


def test_every_reviewed_difference_is_observed(comparison: Comparison) -> None:
    """Others are to be removed from differences.yaml."""
    assert comparison.obsolete == [], HOW


def test_every_difference_has_a_reason() -> None:
    """Written in the review."""
    assert [entry for entry in load() if not entry.reason] == []


def test_the_corpus_is_large_enough() -> None:
    """At least sixty configurations and twenty questions."""
    assert len(cases()) >= 60
    assert len(QUESTIONS) >= 20
