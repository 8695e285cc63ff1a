"""The comparison of both servers finds new and obsolete differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.switch.differences import (
    EVERYWHERE,
    Difference,
    Reviewed,
    compare,
    differences,
    load,
    regenerate,
    save,
)

FOUND = Difference("plain", "base", "status", "200", "401 UNAUTHORIZED")
ELSEWHERE = replace(FOUND, configuration="tls")
ENTRY = Reviewed(("base",), "status", "200", "401 UNAUTHORIZED", ("plain",), "a reason")


def test_the_facts_that_differ() -> None:
    """Of responses with different statuses the headers are not compared."""
    theirs = {"base": {"status": "200", "Allow": "GET"}, "root": {"status": "200", "Allow": "GET"}}
    ours = {"base": {"status": "404"}, "root": {"status": "200"}, "log": {"forms": "json"}}
    assert list(differences({"plain": (theirs, ours)})) == [
        Difference("plain", "base", "status", "200", "404"),
        Difference("plain", "root", "Allow", "GET", "absent"),
    ]


def test_a_difference_that_is_not_reviewed_is_new() -> None:
    """Another configuration, question, fact or text."""
    assert compare([FOUND], [ENTRY]).new == []
    for other in (
        ELSEWHERE,
        replace(FOUND, question="root"),
        replace(FOUND, fact="Allow"),
        replace(FOUND, theirs="301"),
        replace(FOUND, ours="404"),
    ):
        assert compare([FOUND, other], [ENTRY]).new == [other]


def test_a_reviewed_difference_that_is_not_observed_is_obsolete() -> None:
    """As a whole, or for one of its configurations or questions."""
    assert compare([FOUND], [ENTRY]).obsolete == []
    assert compare([], [ENTRY]).obsolete == [ENTRY]
    more = replace(ENTRY, configurations=("plain", "tls"))
    assert compare([FOUND], [more]).obsolete == [more]
    assert compare([FOUND, ELSEWHERE], [more]).obsolete == []
    everywhere = replace(ENTRY, configurations=(EVERYWHERE,))
    many = [replace(FOUND, configuration=str(number)) for number in range(20)]
    assert compare(many, [everywhere]).obsolete == []
    assert compare(many[:2], [everywhere]).obsolete == [everywhere]
    assert compare([], [everywhere]).obsolete == [everywhere]


def test_regenerated_differences_match_the_observed_ones(tmp_path: Path) -> None:
    """Reasons stay with entries that still apply; new entries have none."""
    more = replace(ENTRY, configurations=("gone", "plain"))
    written = regenerate([FOUND, ELSEWHERE], [more])
    assert written == [ENTRY, replace(ENTRY, configurations=("tls",), reason="")]
    save(written, tmp_path / "file.yaml")
    assert load(tmp_path / "file.yaml") == written
    again = compare([FOUND, ELSEWHERE], written)
    assert (again.new, again.obsolete) == ([], [])


def test_a_difference_of_many_is_one_entry() -> None:
    """For all questions or all configurations; a refusal is an entry for each configuration."""
    found = [
        Difference(f"plain-{number}", f"question-{question}", "Allow", "a", "b")
        for number in range(20)
        for question in range(10)
    ]
    assert regenerate(found, []) == [
        Reviewed((EVERYWHERE,), "Allow", "a", "b", (EVERYWHERE,)),
    ]
    refused = [Difference(name, "start", "outcome", "serves", "refused") for name in "ab"]
    assert regenerate(refused, []) == [
        Reviewed(("start",), "outcome", "serves", "refused", (name,)) for name in "ab"
    ]
