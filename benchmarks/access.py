"""`python -m benchmarks.access`: measure what access control costs a request.

It compares two servers of this project: one with users and rules, one that checks no credentials.
Both get the same requests, so a ratio is the share of the rate that remains. The exit codes are
those of `benchmarks`.
"""

import base64
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

import bcrypt

from benchmarks import interruption, machine, report, seeds, servers
from benchmarks.client import Connection, request_head
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Better
from benchmarks.measures import requests
from benchmarks.processes import Side
from benchmarks.rounds import Bench
from benchmarks.small_requests import get_manifest_as
from benchmarks.stage import Plan, Scenario, Stage
from benchmarks.targets import against_peer

ROUNDS = 3
USER, PASSWORD = "ann", "a password of some length"
OPEN = "without access control"
BEARER_SHARE, BASIC_SHARE = 0.6, 0.5

_RULES = """\
auth: {{htpasswd: {{realm: benchmark, path: {users}}}}}
access:
  rules:
    - {{repositories: ["library/**"], users: [{user}], actions: [pull]}}
    - {{repositories: ["team/**"], users: ["*"], actions: [pull, push]}}
    - {{users: [admin], actions: ["*"]}}
"""


def guarded() -> Side:
    """Return our server with users and rules."""
    plain = servers.ours()
    return Side("with access control", plain.version, plain.command, _config, plain.arguments)


def unguarded() -> Side:
    """Return our server without users and rules."""
    plain = servers.ours()
    return Side(OPEN, plain.version, plain.command, plain.config, plain.arguments)


def _config(root: Path, port: int, folder: Path) -> str:
    users = folder / "users"
    hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    users.write_text(f"{USER}:{hash}\n")
    plain = servers.CONFIG.format(root=root, port=port)
    return plain + _RULES.format(users=users, user=USER)


def _basic(_: Stage) -> Mapping[str, str]:
    shown = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return {"Authorization": f"Basic {shown}"}


def _bearer(stage: Stage) -> Mapping[str, str]:
    """Get a token as a client does; without a token server any text serves."""
    target = f"/auth/token?service=registry&scope={quote(f'repository:{seeds.IMAGE}:pull')}"
    with Connection(stage.server.port, timeout=30) as connection:
        answer = connection.exchange(request_head("GET", target, _basic(stage)))
    token = json.loads(answer.body)["token"] if answer.status == 200 else "none"
    return {"Authorization": f"Bearer {token}"}


def scenario(plan: Plan) -> Scenario:
    """Return the scenario: GET of a manifest by tag, with a token and with a password."""
    title = "GET manifest by tag"
    measures = [
        requests("access.bearer", f"{title}, bearer token", partial(get_manifest_as, _bearer)),
        requests("access.basic", f"{title}, password", partial(get_manifest_as, _basic)),
    ]
    return Scenario("access", seeds.image, measures, plan)


def main() -> int:
    """Measure, print the tables, and return the exit code."""
    plan = Plan(seconds=3)
    ours, theirs = guarded(), unguarded()
    goals = [
        against_peer("access.bearer.rate", Better.MORE, BEARER_SHARE, OPEN),
        against_peer("access.basic.rate", Better.MORE, BASIC_SHARE, OPEN),
    ]
    try:
        with interruption.temporary_folder(None) as folder:
            date = datetime.now(UTC).isoformat(timespec="seconds")
            facts = {"date": date, **machine.facts(folder)}
            bench = Bench(ours, theirs, None, folder)
            bench.start_once()
            results = bench.run([scenario(plan)], ROUNDS)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    setting = report.Setting(ours, theirs, None, facts, plan, ROUNDS, goals)
    print(report.text(results, setting))
    return 0 if all(line.is_reported for line in results.lines.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
