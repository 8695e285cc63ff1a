"""Paths: a golden table, and nothing that is outside the root."""

from __future__ import annotations

import posixpath
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.errors import InvalidInput
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag, UploadId
from tests.storage.examples import MANY

NAME = RepositoryName("library/app")
A, B = Digest("sha256", "a" * 64), Digest("sha512", "b0" * 64)
ID = UploadId("01234567-89ab-cdef-0123-456789abcdef")
HERE = "docker/registry/v2/repositories/library/app"

# As CNCF distribution writes them; `_referrers` is ours.
GOLDEN = [
    (paths.blobs_of("sha512"), "docker/registry/v2/blobs/sha512"),
    (paths.blob_folder("sha256", "aa"), "docker/registry/v2/blobs/sha256/aa"),
    (paths.blob(A), f"docker/registry/v2/blobs/sha256/aa/{'a' * 64}/data"),
    (paths.blob(B), f"docker/registry/v2/blobs/sha512/b0/{'b0' * 64}/data"),
    (paths.blob_below(A), f"sha256/aa/{'a' * 64}/data"),
    (paths.repository(NAME), HERE),
    (paths.layers(NAME), f"{HERE}/_layers"),
    (paths.layer_link(NAME, A), f"{HERE}/_layers/sha256/{'a' * 64}/link"),
    (paths.foreign_layer_link(NAME, "md5", "ab"), f"{HERE}/_layers/md5/ab/link"),
    (paths.manifests(NAME), f"{HERE}/_manifests"),
    (paths.revisions(NAME), f"{HERE}/_manifests/revisions"),
    (paths.revision_link(NAME, B), f"{HERE}/_manifests/revisions/sha512/{'b0' * 64}/link"),
    (paths.deletions(NAME), f"{HERE}/_manifests/deletions"),
    (paths.tags(NAME), f"{HERE}/_manifests/tags"),
    (paths.tag(NAME, Tag("v1")), f"{HERE}/_manifests/tags/v1"),
    (paths.tag_current_link(NAME, Tag("v1")), f"{HERE}/_manifests/tags/v1/current/link"),
    (
        paths.tag_index_link(NAME, Tag("v1"), A),
        f"{HERE}/_manifests/tags/v1/index/sha256/{'a' * 64}/link",
    ),
    (paths.referrers_of_all(NAME), f"{HERE}/_referrers"),
    (paths.referrers_scanned(NAME), f"{HERE}/_referrers/scanned"),
    (paths.referrers(NAME, A), f"{HERE}/_referrers/sha256/{'a' * 64}"),
    (
        paths.referrer_link(NAME, A, B),
        f"{HERE}/_referrers/sha256/{'a' * 64}/sha512/{'b0' * 64}/link",
    ),
    (
        paths.referrer_descriptor(NAME, A, B),
        f"{HERE}/_referrers/sha256/{'a' * 64}/sha512/{'b0' * 64}/descriptor",
    ),
    (paths.tag_history(NAME, Tag("v1")), f"{HERE}/_manifests/tags/v1/index"),
    (paths.uploads(NAME), f"{HERE}/_uploads"),
    (paths.upload(NAME, ID), f"{HERE}/_uploads/{ID}"),
    (paths.upload_data(NAME, ID), f"{HERE}/_uploads/{ID}/data"),
    (paths.upload_started(NAME, ID), f"{HERE}/_uploads/{ID}/startedat"),
    (paths.upload_reserved(NAME, ID), f"{HERE}/_uploads/{ID}/reserved"),
    (paths.upload_states(NAME, ID), f"{HERE}/_uploads/{ID}/hashstates"),
    (paths.upload_state(NAME, ID, "sha256", 70), f"{HERE}/_uploads/{ID}/hashstates/sha256/70"),
    (paths.claim("scrub"), ".registry/scrub"),
    (paths.quarantined(A), f".registry/quarantine/sha256/{'a' * 64}"),
    (paths.set_aside(paths.layers(NAME)), f".registry/quarantine/{HERE}/_layers"),
]


@pytest.mark.parametrize(("path", "golden"), GOLDEN)
def test_paths_are_those_of_the_drawing(path: str, golden: str) -> None:
    """Each value has the path of the reference implementation."""
    assert path == golden


def test_every_function_is_in_the_table() -> None:
    """A new path needs a golden line."""
    functions = [
        name
        for name, value in vars(paths).items()
        if callable(value) and getattr(value, "__module__", "") == paths.__name__
    ]
    names_of_files = {"temporary", "is_temporary", "is_part"}
    assert len(functions) == len({path for path, _ in GOLDEN}) - 1 + len(names_of_files)
    # - 1, because blob stands twice


def test_a_temporary_file_is_known_by_its_name() -> None:
    """Each has a unique name, and no other name is recognised."""
    names = {paths.temporary() for _ in range(5)}
    assert len(names) == 5
    assert all(map(paths.is_temporary, names))
    for other in ("link", ".tmp-", f".tmp-{'0' * 31}", f".tmp-{'0' * 33}", f"tmp-{'0' * 32}"):
        assert not paths.is_temporary(other)


TEXTS = st.one_of(
    st.text(max_size=30),
    st.text("./\\\0\na:_-%0", max_size=12),
    st.sampled_from(["..", "../..", "a/../../b", "/etc/passwd", "a\0b", "sha256:../../x", "~"]),
)


@MANY
@given(text=TEXTS, other=TEXTS)
@example("a", "..")
def test_no_text_leads_outside_the_root(text: str, other: str) -> None:
    """Whatever a client sends either fails to parse or stays below its folder."""
    for built in _built(text, other):
        assert posixpath.normpath(built) == built
        assert built.startswith("docker/registry/v2/")
        assert built.isascii()
        assert built.isprintable()
        assert all(len(part) <= 255 for part in built.split("/"))


def _built(text: str, other: str) -> list[str]:
    """Build every path for which these texts are valid."""
    built = []
    with suppress(InvalidInput):
        built.append(paths.blob(Digest.parse(text)))
    with suppress(InvalidInput):
        built.append(paths.tag(NAME, Tag.parse(text)))
    with suppress(InvalidInput):
        built.append(paths.upload(NAME, UploadId.parse(text)))
    with suppress(InvalidInput):
        name = RepositoryName.parse(text)
        built.append(paths.repository(name))
        built.append(paths.tag(name, Tag.parse(other)))
    return built


@MANY
@given(text=st.text("a._-/0", max_size=20))
def test_a_repository_is_never_a_folder_of_another(text: str) -> None:
    """No repository's path contains a `_` folder, in which another repository keeps its parts."""
    with suppress(InvalidInput):
        name = RepositoryName.parse(text)
        assert not any(part.startswith("_") for part in name.text.split("/"))
