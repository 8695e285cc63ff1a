"""The LRU cache keeps what was used last, and never more than its limit."""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st

from storage.values.cache import ENTRY_BYTES, Lru
from tests.storage.examples import FEW, MANY

# Bytes; eight entries of a value of 8 fit.
LIMIT = 8 * (800 + ENTRY_BYTES)

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 5), st.integers(0, 20)), max_size=60
)


@MANY
@given(steps=STEPS)
def test_it_behaves_like_its_model(steps: list[tuple[str, int, int]]) -> None:
    """It holds what a plain ordered dictionary with the same rules would hold."""
    cache: Lru[int, int] = Lru(limit=LIMIT, cost=lambda value: value * 100)
    model: OrderedDict[int, int] = OrderedDict()

    def size() -> int:
        return sum(value * 100 + ENTRY_BYTES for value in model.values())

    for step, key, value in steps:
        if step == "get":
            assert cache.get(key) == model.get(key)
            if key in model:
                model.move_to_end(key)
        else:
            cache.put(key, value)
            if value * 100 + ENTRY_BYTES <= LIMIT // 8:
                model.pop(key, None)
                model[key] = value
            while size() > LIMIT:
                model.popitem(last=False)
        assert cache.size == size() <= LIMIT


def test_a_value_may_take_its_share() -> None:
    """A value that costs more than its share of the limit is not cached."""
    cache: Lru[int, int] = Lru(4000, cost=lambda value: value - ENTRY_BYTES, share=4)
    cache.put(1, 1000)
    cache.put(2, 1001)
    assert (cache.get(1), cache.get(2)) == (1000, None)


def test_threads_may_use_it_together() -> None:
    """Its size equals the cost of its entries, however many threads use it concurrently."""
    cache: Lru[int, int] = Lru(limit=80 * (10 + ENTRY_BYTES), cost=lambda value: value)

    def use(seed: int) -> None:
        for step in range(2000):
            cache.put((seed * 31 + step * 7) % 97, 10)
            cache.get(step % 97)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    held = sum(cache.get(key) is not None for key in range(97))
    assert held == 80
    assert cache.size == held * (10 + ENTRY_BYTES)


COSTS = st.tuples(st.integers(0, 3), st.integers(0, 2000))


@FEW
@given(lengths=st.lists(COSTS, min_size=1, max_size=20))
def test_it_takes_no_more_memory_than_its_limit(lengths: list[tuple[int, int]]) -> None:
    """By the interpreter's own count, whatever the number and length of entries."""
    limit = 200_000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    cache: Lru[bytes, bytes] = Lru(limit, cost=lambda value: 2 * getsizeof(value))
    for number in range(1000):
        times, length = lengths[number % len(lengths)]
        cache.put(b"%d" % number * (1 + times + length), b"%d" % number * (1 + times + length))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert cache.size <= limit
    assert taken <= cache.size * 1.1 + 20_000
    assert cache.size <= taken * 2


def test_a_cost_is_counted_once_even_if_it_changes() -> None:
    """A string costs more after it was encoded; its cost at `put` is what is subtracted."""
    cache: Lru[int, list[int]] = Lru(10_000, cost=lambda value: value[0])
    grows = [10]
    cache.put(1, grows)
    grows[0] = 1000
    cache.put(1, [10])
    assert cache.size == 10 + ENTRY_BYTES
