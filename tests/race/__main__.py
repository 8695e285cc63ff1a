"""Run the race for any time: python -m tests.race --seconds 300."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.race.course import Plan, race
from tests.race.faults import FAULTS


def main() -> int:
    """Race, print the counts and the violations; return 1 if there are any."""
    parser = argparse.ArgumentParser(description="pushes against collections")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--grace", type=float, default=1.0, help="seconds, at least 1")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--kills", type=int, default=1, help="how often a server is killed")
    parser.add_argument("--keep-untagged", action="store_true")
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--stalls", action="store_true", help="changes that outlast the grace")
    parser.add_argument("--fault", action="append", default=[], choices=sorted(FAULTS))
    given = parser.parse_args()
    plan = Plan(
        seed=given.seed,
        seconds=given.seconds,
        grace=given.grace,
        clients=given.clients,
        servers=given.servers,
        untagged_go=not given.keep_untagged,
        fsync=given.fsync,
        kills=given.kills,
        stalls=given.stalls,
        faults=tuple(given.fault),
    )
    print(plan, flush=True)
    outcome = race(plan)
    for what, number in sorted(outcome.counts.items()):
        print(f"{number:12,} {what}")
    print(outcome.told)
    print(f"{outcome.violations} violations")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
