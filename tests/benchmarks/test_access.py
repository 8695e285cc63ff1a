"""The cost of access control: a server with it is compared with a server without it."""

from __future__ import annotations

from pathlib import Path

from benchmarks import access
from benchmarks.figures import Better, Line
from benchmarks.stage import Plan
from benchmarks.targets import against_peer, verdicts
from registry_server.config.load import load
from registry_server.wiring.access.setup import check


def test_one_server_has_rules_and_the_other_has_none(tmp_path: Path) -> None:
    """Both configurations are valid; only one configures access control."""
    found = []
    for side in (access.guarded(), access.unguarded()):
        (tmp_path / "config.yml").write_text(side.config(tmp_path, 5000, tmp_path))
        settings = load(tmp_path / "config.yml", {}).settings
        check(settings)
        found.append(settings.access.configured)
    assert found == [True, False]


def test_each_way_to_authenticate_is_measured() -> None:
    """By token and by password, as a rate and as its CPU."""
    figures = [f.key for m in access.scenario(Plan()).measures for f in m.figures]
    ways = ("bearer", "basic")
    assert figures == [f"access.{way}.{what}" for way in ways for what in ("rate", "cpu")]


def test_a_target_names_what_it_is_measured_against() -> None:
    """The claim is about the server without, and less than the share is not enough."""
    measure = access.scenario(Plan()).measures[0]
    line = Line(measure.figures[0], ours=[59.0], theirs=[100.0])
    target = against_peer("access.bearer.rate", Better.MORE, access.BEARER_SHARE, access.OPEN)
    (verdict,) = verdicts({"access.bearer.rate": line}, [target])
    assert target.claim == "without access control"
    assert not verdict.is_met
