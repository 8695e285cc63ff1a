"""Requests over a rate are refused; a client that waits as told is served."""

from __future__ import annotations

import ipaddress
import json
from functools import partial

from registry_server.http.clients import client_address
from registry_server.http.proxies import Network
from registry_server.limits import RequestLimits
from tests.limits.asking import ask, at_once
from tests.limits.clock import Clock

OTHER = "198.51.100.1"


async def test_a_client_over_its_rate_is_refused_in_the_envelope() -> None:
    """Retry-After has the seconds after which it is served; no other client is refused."""
    clock, app = Clock(), at_once()
    limited = RequestLimits(app, per_client=1, burst=3, clock=clock)
    assert [(await ask(limited)).status for _ in range(4)] == [200, 200, 200, 429]
    refused = await ask(limited)
    assert refused.headers == {
        b"docker-distribution-api-version": b"registry/2.0",
        b"content-type": b"application/json",
        b"content-length": b"%d" % len(refused.body),
        b"retry-after": b"1",
    }
    assert json.loads(refused.body) == {
        "errors": [{"code": "TOOMANYREQUESTS", "message": "too many requests"}]
    }
    assert (await ask(limited, OTHER)).status == 200
    assert app.seen == 4
    clock.sleep(1)
    assert [(await ask(limited)).status for _ in range(2)] == [200, 429]


async def test_all_clients_share_the_total_rate() -> None:
    """Whichever they are."""
    clock = Clock()
    limited = RequestLimits(at_once(), total=2, burst=2, clock=clock)
    found = [(await ask(limited, address)).status for address in ("192.0.2.7", OTHER, None)]
    assert found == [200, 200, 429]
    clock.sleep(0.5)
    assert (await ask(limited)).status == 200


async def test_refused_requests_do_not_count_for_others() -> None:
    """A client that floods uses up only its own share."""
    limited = RequestLimits(at_once(), per_client=1, total=5, burst=1, clock=Clock())
    flood = [(await ask(limited)).status for _ in range(100)]
    assert (flood.count(200), flood.count(429)) == (1, 99)
    others = [(await ask(limited, f"192.0.2.{number}")).status for number in range(10, 16)]
    assert others == [200] * 4 + [429] * 2


async def test_a_burst_has_at_least_the_requests_of_a_second() -> None:
    """A smaller one would keep clients below the rate."""
    limited = RequestLimits(at_once(), per_client=5, burst=0, clock=Clock())
    assert [(await ask(limited)).status for _ in range(6)] == [200] * 5 + [429]


async def test_addresses_of_one_ipv6_network_share_a_rate() -> None:
    """A client with one of them can use all of them."""
    limited = RequestLimits(at_once(), per_client=1, clock=Clock())
    assert (await ask(limited, "2001:db8::1")).status == 200
    assert (await ask(limited, "2001:db8::2")).status == 429
    assert (await ask(limited, "2001:db8:0:1::1")).status == 200


async def test_clients_of_a_trusted_proxy_are_distinguished() -> None:
    """Those of another proxy are not."""
    trusted: tuple[Network, ...] = (ipaddress.ip_network("10.0.0.1"),)
    address = partial(client_address, trusted=trusted)
    limited = RequestLimits(at_once(), per_client=1, address=address, clock=Clock())
    for proxy, second in (("10.0.0.1", 200), ("10.0.0.2", 429)):
        found = [
            (await ask(limited, proxy, headers=[(b"x-forwarded-for", client)])).status
            for client in (b"192.0.2.7", b"192.0.2.8")
        ]
        assert found == [200, second]


async def test_clients_without_an_address_are_not_limited_individually() -> None:
    """None is refused for the requests of others."""
    limited = RequestLimits(at_once(), per_client=1, clock=Clock())
    assert [(await ask(limited, None)).status for _ in range(3)] == [200] * 3


async def test_load_balancers_are_always_answered() -> None:
    """A busy server must not look dead; and only HTTP requests are limited."""
    limited = RequestLimits(at_once(), per_client=1, total=1, clock=Clock())
    assert [(await ask(limited, path="/")).status for _ in range(5)] == [200] * 5
    assert [(await ask(limited, kind="lifespan")).status for _ in range(5)] == [200] * 5
    assert [(await ask(limited)).status for _ in range(2)] == [200, 429]
