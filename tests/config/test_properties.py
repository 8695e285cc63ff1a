"""Any file, environment and options give settings or a ConfigError."""

import pickle
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config import ConfigError, Overrides, Settings, document_shape, key_tree
from registry_server.config.load import load
from registry_server.config.validation import validated
from tests.support.sections import written_out

KNOWN = sorted({part for key in key_tree.leaves() for part in key if part != key_tree.ITEM})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["true", "5s", "10.0.0.0/8", ":5000", "/x", "list", "tls1.2", "debug", "0"]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KNOWN), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=12,
)
SHAPED = st.fixed_dictionaries(
    {"version": st.just("0.1")},
    optional={
        name: st.one_of(
            SCALARS, st.dictionaries(st.sampled_from(sorted(shape.children)), ANYTHING, max_size=4)
        )
        for name, shape in key_tree.root().children.items()
        if isinstance(shape, document_shape.Keys)
    },
)
NAMES = st.one_of(
    st.builds(
        lambda parts: "REGISTRY_" + "_".join(parts).upper(),
        st.lists(st.sampled_from([*KNOWN, "0", "1", "port", "", "x-y"]), max_size=5),
    ),
    st.text(max_size=12).map(lambda rest: f"REGISTRY_{rest}"),
)
VALUES = st.one_of(
    st.text(max_size=20),
    ANYTHING.map(yaml.safe_dump),
    st.sampled_from(["filesystem", "s3", "{}", "[]", "{filesystem: {}}", "[a", "*a", "\udcff"]),
)
OVERRIDES = st.builds(
    Overrides,
    host=st.none() | st.text(max_size=10),
    port=st.none() | st.integers(),
    root=st.none() | st.text(max_size=10).map(Path),
    workers=st.none() | st.integers(),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that each example overwrites."""
    return tmp_path_factory.mktemp("config") / "config.yml"


def _settings_or_problems(
    path: Path | None, environ: dict[str, str] | None = None, overrides: Overrides | None = None
) -> None:
    problems: tuple[str, ...] = ()
    try:
        loaded = load(path, environ or {}, overrides or Overrides())
    except ConfigError as error:
        problems = error.problems
    if not problems:
        assert validated(Settings, written_out(loaded.settings)) == loaded.settings
        assert pickle.loads(pickle.dumps(loaded)) == loaded  # a child process reads it for a server
        assert str(loaded.settings.http.listen_address)
    else:
        assert pickle.loads(pickle.dumps(ConfigError(problems))).problems == problems
    assert all(len(problem.splitlines()) == 1 for problem in problems)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_settings_or_problems(path: Path, data: bytes) -> None:
    """No file of any bytes makes `load` raise another exception."""
    path.write_bytes(data)
    _settings_or_problems(path)


@given(text=st.text(alphabet=st.sampled_from("abe:,[]{}&*!|>'\"%@#?-~<\\ \n\t019"), max_size=60))
def test_any_punctuation_is_settings_or_problems(path: Path, text: str) -> None:
    """Nor does a text of YAML's special characters."""
    path.write_text(f"version: 0.1\n{text}")
    _settings_or_problems(path)


@given(tree=ANYTHING)
def test_any_tree_is_settings_or_problems(path: Path, tree: object) -> None:
    """Nor does a well-formed file of any structure."""
    path.write_text(yaml.safe_dump(tree))
    _settings_or_problems(path)


@given(tree=SHAPED, environ=st.dictionaries(NAMES, VALUES, max_size=3), overrides=OVERRIDES)
def test_known_keys_with_any_values_are_settings_or_problems(
    path: Path, tree: object, environ: dict[str, str], overrides: Overrides
) -> None:
    """Nor do known keys with invalid values, with variables and options in addition."""
    path.write_text(yaml.safe_dump(tree))
    _settings_or_problems(path, environ, overrides)


@given(environ=st.dictionaries(NAMES, VALUES, max_size=6), overrides=OVERRIDES)
def test_any_environment_is_settings_or_problems(
    environ: dict[str, str], overrides: Overrides
) -> None:
    """Nor does any environment without a file."""
    _settings_or_problems(None, environ, overrides)
