"""`python -m benchmarks`: compare this registry with Debian's `docker-registry`.

Exit codes: 0 everything was measured, 1 some figures failed, 2 nothing could be measured,
130 interrupted.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    flat,
    growth,
    interruption,
    machine,
    maintenance,
    report,
    room,
    saved,
    servers,
    wrk,
)
from benchmarks.errors import BenchmarkError, NotReady
from benchmarks.rounds import Bench, say
from benchmarks.scenarios import FLAT, default_names, names, scenarios
from benchmarks.stage import QUICK, Plan
from benchmarks.targets import targets

ROUNDS = 3
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected measurements and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _measure(options)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted; servers are stopped", file=sys.stderr)
        return INTERRUPTED


def _measure(options: argparse.Namespace) -> int:
    if shutil.which(wrk.PROGRAM) is None:
        raise NotReady(f"{wrk.PROGRAM} is not installed (Debian: apt-get install {wrk.PROGRAM})")
    theirs, floor = servers.peer(), servers.nginx()
    ours = servers.peer(f"{servers.PEER} (again)") if options.calibrate else servers.ours()
    collector = maintenance.peer(options.registry)
    started = datetime.now(UTC)
    with interruption.temporary_folder(options.folder) as folder:
        if options.blobs and _is_maintained(options):
            room.require(folder, options.blobs)
        plan = _plan(options, folder)
        chosen = [scenario for scenario in scenarios(plan) if scenario.name in options.only]
        facts = {"date": started.isoformat(timespec="seconds"), **machine.facts(folder)}
        bench = Bench(ours, theirs, floor, folder)
        bench.start_once()
        results = bench.run(chosen, options.rounds)
        sizes, left_out = _tree_sizes(options, folder)
        runs = list(_maintenance(sizes, collector, folder))
    if floor is None and any(scenario.has_floor for scenario in chosen):
        package = servers.NGINX_PACKAGE
        results.notes.append(f"no floor for blobs: nginx is not installed (Debian: {package})")
    goals = [] if options.calibrate else targets(plan.streams, plan.clients)
    setting = report.Setting(ours, theirs, floor, facts, plan, options.rounds, goals)
    print("\n\n".join([report.text(results, setting), *_maintained(runs, left_out)]))
    file = options.json or saved.default_file(started, servers.commit(), is_quick=options.quick)
    document = {
        **report.document(results, setting),
        "maintenance": [asdict(run) for run in runs],
        "left_out": [asdict(tree) for tree in left_out],
    }
    saved.write(file, document)
    print(f"\nevery value: {file}")
    return 0 if all(line.is_reported for line in results.lines.values()) else 1


def _is_maintained(options: argparse.Namespace) -> bool:
    return not {growth.NAME, maintenance.NAME}.isdisjoint(options.only)


def _tree_sizes(
    options: argparse.Namespace, folder: Path
) -> tuple[Sequence[int], Sequence[room.LeftOut]]:
    """Return the sizes to measure, and the default sizes that do not fit."""
    if not _is_maintained(options):
        return (), ()
    if options.blobs:
        return options.blobs, ()
    return room.fitting(folder, maintenance.QUICK_SIZES if options.quick else maintenance.SIZES)


def _maintenance(
    sizes: Sequence[int], theirs: maintenance.Program, folder: Path
) -> Iterator[maintenance.Run]:
    for run in maintenance.measure(theirs, folder, sizes):
        what = f"{run.task}, {run.blobs:,} blobs in {run.shape}"
        say(f"  {run.program}: {what}: {run.seconds:,.1f} s")
        yield run


def _maintained(runs: Sequence[maintenance.Run], left_out: Sequence[room.LeftOut]) -> Iterator[str]:
    if runs:
        yield maintenance.text(runs)
    if left_out:
        yield "\n".join(f"- not measured: {tree}" for tree in left_out)


def _plan(options: argparse.Namespace, folder: Path) -> Plan:
    plan = QUICK if options.quick else Plan()
    return flat.fitted(plan, folder) if FLAT in options.only else plan


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", type=_selection, default=default_names(), help=f"of: {','.join(_names())}"
    )
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="small and short, for a trial")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"write every value to FILE; default: a new file in {saved.FOLDER.name}/",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="working folder (needs about 40 GB with flat, 5 GB without); default: the temporary "
        "folder",
    )
    parser.add_argument(
        "--blobs",
        type=_sizes,
        metavar="COUNTS",
        help="blobs in the trees of growth and maintenance; default: those of "
        f"{','.join(map(str, maintenance.SIZES))} that fit; a million needs "
        f"{room.needed(1_000_000)}",
    )
    parser.add_argument(
        "--registry",
        default=servers.PEER,
        metavar="PROGRAM",
        help="the registry to compare garbage collection with; default: %(default)s",
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="measure docker-registry twice; expect 1.0 x"
    )
    return parser


def _selection(text: str) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in _names():
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {','.join(_names())}")
    return chosen


def _names() -> list[str]:
    return [*names(), maintenance.NAME]


def _sizes(text: str) -> list[int]:
    return [_positive(size) for size in text.split(",")]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


if __name__ == "__main__":
    interruption.install()
    sys.exit(main())
