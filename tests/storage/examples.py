"""How many examples the properties are tried with, and words to make them of."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Fixtures are shared between examples on purpose: each example has names of its own.
_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

FEW = settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
SOME = settings(max_examples=60, deadline=None, suppress_health_check=_SHARED)
MANY = settings(max_examples=200, deadline=None, suppress_health_check=_SHARED)

# Names of which one is the beginning of another, and the characters that sort around a slash.
COMPONENTS = st.sampled_from(["a", "a-b", "a.b", "a_b", "a__b", "a0", "ab", "b", "a--b", "0"])
REPOSITORY_NAMES = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
TAGS = st.text("aZ09_.-", min_size=1, max_size=4).filter(lambda text: text[0] not in ".-")

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**30, -(10**30), 2**63, 2**63 - 1, 0, 2]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["sha256:" + "0" * 64, "sha512:" + "a" * 128, "sha256:", "md5:00", "\ud800"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
