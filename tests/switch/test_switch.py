"""Each configuration is answered as docker-registry does, but for the reviewed differences."""

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
    """Serve every configuration by both servers, and give all that differs."""
    require_tool("docker-registry")
    require_namespaces()
    return list(differences(observe_all(cases(), tmp_path_factory.mktemp("switch"))))


@pytest.fixture(scope="module")
def comparison(found: list[Difference]) -> Comparison:
    """Give what was found against what is reviewed."""
    return compare(found, load())


def test_every_difference_is_reviewed(comparison: Comparison) -> None:
    """What differs from docker-registry is in differences.yaml."""
    assert comparison.new == [], HOW


def test_every_reviewed_difference_still_holds(comparison: Comparison) -> None:
    """What no longer differs is taken out of differences.yaml, so it shrinks."""
    assert comparison.gone == [], HOW


def test_every_difference_has_a_reason() -> None:
    """A person has written why each may stay."""
    assert [entry for entry in load() if not entry.reason] == []


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    """At least sixty configurations and twenty questions."""
    assert len(cases()) >= 60
    assert len(QUESTIONS) >= 20
