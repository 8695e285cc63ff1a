"""A whole race: servers, clients and collectors for some time, then the final check."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.race.client import Client
from tests.race.collectors import Collectors, grace_variable
from tests.race.contents import Shelf
from tests.race.courier import Courier, Outages
from tests.race.disk import final_check
from tests.race.history import History
from tests.race.model import Model
from tests.race.stalling import STALL
from tests.support.servers import RegistryServer

_TAGS = 4
_OWN = 2
_SHARED = 2
_LOG = 4000


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a race.

    With `untagged_go` most collections delete untagged manifests. With `servers` 2 they serve one
    root. With `stalls` some changes on the disk take longer than the grace period. `faults` make
    collectors wrong, and end the race at the first violation.
    """

    seed: int
    seconds: float
    grace: float = 1.0
    clients: int = 6
    servers: int = 1
    untagged_go: bool = True
    fsync: bool = False
    kills: int = 1
    stalls: bool = False
    faults: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result; `told` is a report for a person, empty without a violation."""

    violations: int
    told: str
    counts: Counter[str]


def race(plan: Plan, folder: Path | None = None) -> Outcome:
    """Race as planned in `folder`, or in a temporary one."""
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="race-")))
        return _Race(plan, folder).run()


class _StallingServer(RegistryServer):
    """A server on a disk that stalls."""

    def command(self) -> list[str]:
        """Return the same command of another program."""
        python, dash_m, _, *rest = super().command()
        return [python, dash_m, "tests.race.stalling", *rest]


class _Race:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._rng = random.Random(plan.seed)
        self._history = History()
        self._outages = Outages()
        self._stop = threading.Event()
        self._root = folder / "root"
        self._servers = [self._server(folder / f"server-{n}") for n in range(plan.servers)]
        self._model = Model(untagged_go=plan.untagged_go)
        self._clients = self._made_clients()
        self._collectors = Collectors(
            self._root,
            folder,
            plan.grace,
            random.Random(self._rng.random()),
            untagged=plan.untagged_go,
            faults=plan.faults,
        )

    def run(self) -> Outcome:
        """Run to the end, and stop all processes."""
        with ExitStack() as stack:
            for server in self._servers:
                stack.enter_context(server)
            try:
                self._race()
            finally:
                self._stop.set()
                for client in self._clients:
                    client.join()
                self._collectors.stop()
            if not self._plan.faults:
                final_check(
                    self._root, self._model, self._history, self._plan.grace, self._courier("e")
                )
        return self._outcome()

    def _race(self) -> None:
        for thread in (*self._clients, self._collectors):
            thread.start()
        kills = [(n + 1) / (self._plan.kills + 1) for n in range(self._plan.kills)]
        end = time.monotonic() + self._plan.seconds
        while time.monotonic() < end and not (self._plan.faults and self._history.violations()):
            time.sleep(0.2)
            left = (end - time.monotonic()) / self._plan.seconds
            if kills and 1 - left >= kills[0]:
                kills.pop(0)
                self._kill_a_server()

    def _kill_a_server(self) -> None:
        began = time.monotonic()
        self._outages.begin()
        server = self._rng.choice(self._servers)
        try:
            server.kill()
            server.start()
        finally:
            self._outages.end()  # else clients would retry without limit
        self._history.note(began, "race", "killed a server and started it again")
        self._history.count("servers killed")

    def _server(self, folder: Path) -> RegistryServer:
        env = {
            **grace_variable(self._plan.grace),
            "REGISTRY_STORAGE_DELETE_ENABLED": "true",
            "REGISTRY_STORAGE_FILESYSTEM_FSYNC": str(self._plan.fsync).lower(),
            "REGISTRY_LOG_ACCESSLOG_DISABLED": "true",
        }
        if self._plan.stalls:
            return _StallingServer(
                folder, self._root, env={**env, STALL: str(2.5 * self._plan.grace)}
            )
        return RegistryServer(folder, self._root, env=env)

    def _made_clients(self) -> list[Client]:
        common = Shelf("common", self._rng)
        names = [f"client-{n}" for n in range(self._plan.clients)]
        shared = [f"shared/{n}" for n in range(_SHARED)]
        for repository in shared:
            tags = {f"{name}-{n}": name for name in names for n in range(_TAGS)}
            self._model.add(repository, tags)
        return [self._client(name, common, shared) for name in names]

    def _client(self, name: str, common: Shelf, shared: list[str]) -> Client:
        own = [f"{name}/{n}" for n in range(_OWN)]
        for repository in own:
            self._model.add(repository, {f"v{n}": name for n in range(_TAGS)})
        shelves = (common, Shelf(name, self._rng, common.layers))
        courier = self._courier(name)
        return Client(
            name, self._model, self._history, courier, shelves, own, shared,
            self._plan.grace, self._stop,
        )  # fmt: skip

    def _courier(self, name: str) -> Courier:
        ports = tuple(server.port for server in self._servers)
        rng = random.Random(self._rng.random())
        return Courier(name, ports, self._history, self._outages, rng)

    def _outcome(self) -> Outcome:
        history = self._history
        self._collectors.read_notes(history)
        history.count("collectors killed", self._collectors.killed)
        told = [f"{self._plan}", history.told()] if history.violations() else []
        if told:
            told += [self._collectors.log[-_LOG:], *(one.log[-_LOG:] for one in self._servers)]
        return Outcome(history.violations(), "\n".join(told), history.counts)
