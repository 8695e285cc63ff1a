"""The bounded memory holds what was used last and never more than its limit."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from storage.cache import Lru
from tests.storage.examples import MANY

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 5), st.integers(0, 20)), max_size=60
)


@MANY
@given(steps=STEPS)
def test_it_behaves_like_its_model(steps: list[tuple[str, int, int]]) -> None:
    """What a plain ordered dictionary with the same rules would hold, it holds."""
    cache: Lru[int, int] = Lru(limit=80, cost=lambda value: value)
    model: OrderedDict[int, int] = OrderedDict()
    for step, key, value in steps:
        if step == "get":
            assert cache.get(key) == model.get(key)
            if key in model:
                model.move_to_end(key)
        else:
            cache.put(key, value)
            if value <= 10:
                model.pop(key, None)
                model[key] = value
            while sum(model.values()) > 80:
                model.popitem(last=False)
        assert cache.size == sum(model.values()) <= 80


def test_threads_may_use_it_together() -> None:
    """Its size stays what it holds, whoever puts and gets at once."""
    cache: Lru[int, int] = Lru(limit=800, cost=lambda value: value)

    def use(seed: int) -> None:
        for step in range(2000):
            cache.put((seed * 31 + step * 7) % 97, 10)
            cache.get(step % 97)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    assert cache.size == sum(10 for key in range(97) if cache.get(key) is not None) == 800
