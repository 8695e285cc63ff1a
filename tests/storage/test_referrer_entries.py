"""Entries of a list of referrers: bounded, parsed as they were encoded, counted by their memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.values.digest import Digest
from storage.values.manifests import OCI_MANIFEST, Manifest
from storage.values.referrer_entries import (
    LONGEST_ANNOTATIONS,
    LONGEST_ENTRY,
    LONGEST_TYPE,
    MOST_ANNOTATIONS,
    Referrer,
    describe,
    parse,
)
from tests.storage.examples import JSON, MANY

DIGEST = Digest.of(b"a manifest")
TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)


def _described(artifact_type: str = "", **annotations: str) -> Referrer:
    manifest = Manifest(
        OCI_MANIFEST, b"raw", artifact_type=artifact_type, annotations={**annotations}
    )
    entry = describe(manifest, DIGEST)
    assert entry is not None
    return entry


@MANY
@given(artifact_type=TEXTS, annotations=st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_an_entry_is_parsed_as_it_was_encoded(
    artifact_type: str, annotations: dict[str, str]
) -> None:
    """Whatever characters it has, lone surrogates among them."""
    manifest = Manifest(OCI_MANIFEST, b"raw", artifact_type=artifact_type, annotations=annotations)
    entry = describe(manifest, DIGEST)
    assert entry is not None
    assert parse(entry.document, DIGEST) == entry
    document = json.loads(entry.document)
    assert document.get("artifactType", "") == entry.artifact_type == artifact_type
    assert document.get("annotations", {}) == annotations


@MANY
@given(value=JSON)
def test_other_content_is_no_entry(value: object) -> None:
    """A descriptor may contain anything after a power cut."""
    entry = json.loads(_described().document)
    for damaged in (json.dumps(value), json.dumps({**entry, "annotations": value or 1})):
        found = parse(damaged.encode(), DIGEST)
        assert found is None or json.loads(found.document)["annotations"] == value


@pytest.mark.parametrize("content", [b"", b"\0" * 400, b"[" * 100_000, b"{}", b"\xff", b'{"size"'])
def test_a_damaged_entry_is_none(content: bytes) -> None:
    """Zeros, a part of a file, and deeply nested JSON."""
    assert parse(content, DIGEST) is None
    assert parse(_described().document[:-1] + content[:1], DIGEST) is None


def test_an_entry_of_another_manifest_is_none() -> None:
    """A descriptor has the digest of its manifest."""
    assert parse(_described().document, Digest.of(b"another")) is None


@pytest.mark.parametrize(
    ("annotations", "stays"),
    [
        ({str(n): "" for n in range(MOST_ANNOTATIONS)}, True),
        ({str(n): "" for n in range(MOST_ANNOTATIONS + 1)}, False),
        ({"k": "x" * (LONGEST_ANNOTATIONS - 8)}, True),
        ({"k": "x" * (LONGEST_ANNOTATIONS - 7)}, False),
        ({"k": "字" * (LONGEST_ANNOTATIONS // 3)}, False),
        ({"k": "\x01" * (LONGEST_ANNOTATIONS // 6)}, False),
    ],
)
def test_annotations_are_complete_or_absent(annotations: dict[str, str], stays: bool) -> None:
    """The bounds are the number of annotations, and their bytes as they are sent."""
    manifest = Manifest(OCI_MANIFEST, b"", artifact_type="a/b", annotations=annotations)
    entry = describe(manifest, DIGEST)
    assert entry is not None
    assert len(entry.document) <= LONGEST_ENTRY
    assert json.loads(entry.document).get("annotations") == (annotations if stays else None)
    assert entry.artifact_type == "a/b"


def test_a_type_that_is_too_long_is_none() -> None:
    """An artifact type is left out; without a media type there is no entry."""
    long = "x" * (LONGEST_TYPE + 1)
    assert b"artifactType" not in _described(long).document
    assert _described(long[1:]).artifact_type == long[1:]
    assert describe(Manifest(long, b""), DIGEST) is None
    longest = describe(
        Manifest("\x01" * LONGEST_TYPE, b"", artifact_type="\x01" * LONGEST_TYPE), DIGEST
    )
    assert longest is not None
    assert len(longest.document) <= LONGEST_ENTRY - LONGEST_ANNOTATIONS


@pytest.mark.parametrize("text", ["x", "é", "字", "😀"])
@pytest.mark.parametrize(("number", "length"), [(0, 0), (1, 1), (200, 3), (3, 5000)])
def test_an_entry_is_counted_for_the_memory_it_takes(text: str, number: int, length: int) -> None:
    """At least the bytes that the interpreter allocates, and at most 600 more."""
    annotations = {f"{at}": text * length for at in range(number)}
    manifests = [
        (Manifest(OCI_MANIFEST, b"", artifact_type=f"{text}{at}", annotations=annotations), at)
        for at in range(100)
    ]
    digests = [str(Digest.of(b"%d" % at, "sha512")) for _, at in manifests]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    entries = [
        describe(manifest, Digest("".join(["sha", "512"]), text.partition(":")[2]))
        for (manifest, _), text in zip(manifests, digests, strict=True)
    ]
    taken = tracemalloc.get_traced_memory()[0] - before - 8 * len(entries)
    tracemalloc.stop()
    counted = sum(entry.memory for entry in entries if entry is not None)
    assert taken <= counted + 8192  # what else the interpreter allocates meanwhile
    assert counted <= taken + 600 * len(entries)
