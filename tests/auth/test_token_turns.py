"""Token requests for many repositories take turns, fairly for each caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from registry_server.access.interfaces import Action, Actor
from registry_server.http.context import Decision
from storage.values.names import RepositoryName
from tests.auth.test_token_server import SECRET, Served
from tests.v2.asgi import Answer

FEW = ["repository:first:pull"]
MANY = [*FEW, *(f"repository:other{number}:pull" for number in range(16))]


class Waiting:
    """Decides when it is released; records the users of the decisions, and the concurrent ones."""

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.began: list[str] = []
        self.now = self.most = 0
        self._lock = threading.Lock()

    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        """Wait for the release at the first name of a request, then allow."""
        if name.text == "first":
            with self._lock:
                self.began.append(actor.name)
                self.now += 1
                self.most = max(self.most, self.now)
            assert self.may_go.wait(30)
            with self._lock:
                self.now -= 1
        return Decision(True, "waiting")

    def decide_catalog(self, actor: Actor) -> Decision:
        """Allow."""
        return Decision(True, "waiting")

    def decide_administration(self, actor: Actor) -> Decision:
        """Allow."""
        return Decision(True, "waiting")


@pytest.fixture
def policy() -> Iterator[Waiting]:
    """Return a policy that waits."""
    made = Waiting()
    yield made
    made.may_go.set()


def _served(policy: Waiting, *names: str) -> Callable[[str, list[str]], asyncio.Task[Answer]]:
    """Return a function that requests a token for a user and scopes."""
    served = Served(policy)
    served.users.passwords.update(dict.fromkeys(names, SECRET))

    def ask(name: str, scopes: list[str]) -> asyncio.Task[Answer]:
        return asyncio.create_task(served.get(*scopes, basic=f"{name}:{SECRET}"))

    return ask


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - a thread makes it hold
            await asyncio.sleep(0.001)


async def test_few_large_token_requests_are_decided_concurrently(
    policy: Waiting,
) -> None:
    """However many users there are; a request for few repositories waits for none of them."""
    users = [f"user{number}" for number in range(5)]
    ask = _served(policy, *users, "ann")
    asked = [ask(user, MANY) for user in users]
    await _until(lambda: policy.now == 2)
    asked.append(ask("ann", FEW))
    await _until(lambda: "ann" in policy.began)
    assert len(policy.began) == 3
    policy.may_go.set()
    assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 6
    assert policy.most == 3


async def test_a_caller_with_many_requests_delays_no_other(policy: Waiting) -> None:
    """A caller has one of the places."""
    ask = _served(policy, "many", "one")
    asked = [ask("many", MANY) for _ in range(5)]
    await _until(lambda: policy.now == 1)
    asked.append(ask("one", MANY))
    await _until(lambda: policy.now == 2)
    assert policy.began == ["many", "one"]
    policy.may_go.set()
    assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 6
