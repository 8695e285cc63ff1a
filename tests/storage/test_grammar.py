"""Digests, names, tags and upload ids: only text that follows the grammar is parsed."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.errors import DigestInvalid, InvalidInput, NameInvalid, TagInvalid, UploadIdInvalid
from storage.values.digest import HEX_LENGTHS, Digest, supported
from storage.values.names import RepositoryName, Tag, UploadId, parse_reference
from tests.storage.examples import MANY

# The grammars as the specs print them; `\Z` is the end and nothing but the end.
SPEC_NAME = re.compile(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\Z", re.ASCII
)
SPEC_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z", re.ASCII)
SPEC_DIGEST = re.compile(r"(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})\Z", re.ASCII)

HEX = st.text("0123456789abcdef", min_size=128, max_size=128)
GOOD_DIGESTS = st.builds(
    lambda algorithm, digits: f"{algorithm}:{digits[: HEX_LENGTHS[algorithm]]}",
    st.sampled_from(sorted(HEX_LENGTHS)),
    HEX,
)
# Everything that has fooled a regular expression or a file system.
NASTY = st.sampled_from(
    [
        "\n",
        "\r",
        "\0",
        "\t",
        " ",
        "..",
        ".",
        "/",
        "//",
        "\\",
        "\u0661",
        "\uff11",
        "\u0430",
        "é",
        "A",
        "\u212a",
        "\ud800",
        "%2e",
        "_layers",
        "-",
        "_",
        "~",
        ":",
        "@",
        "\u200b",
        "\x7f",
    ]
)


def _spoiled(good: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Insert something invalid somewhere into a valid text."""
    return st.builds(
        lambda text, at, bad: text[: at % (len(text) + 1)] + bad + text[at % (len(text) + 1) :],
        good,
        st.integers(0, 1000),
        NASTY,
    )


NAME_LIKE = st.text("a0._-/", max_size=12)
TAG_LIKE = st.text("aZ0_.-", max_size=130)
IDS = st.uuids().map(str)
ANY_TEXT = st.text(max_size=140)


@MANY
@given(text=st.one_of(GOOD_DIGESTS, _spoiled(GOOD_DIGESTS), ANY_TEXT, st.text("sha256:0af")))
@example("sha256:" + "0" * 64 + "\n")
@example("sha256:" + "0" * 63 + "\u0661")
@example("SHA256:" + "0" * 64)
@example("sha256:" + "A" * 64)
@example("sha256:" + "0" * 128)
@example("sha512:" + "0" * 64)
@example("sha384:" + "0" * 96)
@example("sha256+b64:" + "0" * 64)
@example("sha256:sha256:" + "0" * 57)
@example("")
@example(":")
@example("sha256:")
def test_digests(text: str) -> None:
    """A digest is parsed if it follows the grammar, and its string equals the input."""
    if SPEC_DIGEST.match(text):
        assert str(Digest.parse(text)) == text
        assert Digest.parse(text) == Digest(*text.split(":"))
        assert parse_reference(text) == Digest.parse(text)
    else:
        with pytest.raises(DigestInvalid):
            Digest.parse(text)


@MANY
@given(text=st.one_of(NAME_LIKE, _spoiled(NAME_LIKE), ANY_TEXT))
@example("a/b.c__d--e/0")
@example("a___b")
@example("a._b")
@example("../../etc/passwd")
@example("a/../b")
@example("a\n")
@example("a/")
@example("/a")
@example("a//b")
@example("_layers")
@example("a/_manifests")
@example("٣")
@example("K")
@example("a" * 255)
@example("a" * 256)
@example("a/" * 127 + "a")
@example("a/" * 128 + "a")
def test_names(text: str) -> None:
    """A name is parsed if it follows the grammar and has at most 255 characters."""
    if SPEC_NAME.match(text) and len(text) <= 255:
        assert str(RepositoryName.parse(text)) == text
    else:
        with pytest.raises(NameInvalid):
            RepositoryName.parse(text)


@MANY
@given(text=st.one_of(TAG_LIKE, _spoiled(TAG_LIKE), ANY_TEXT))
@example("latest\n")
@example("..")
@example("a/b")
@example("v" * 128)
@example("v" * 129)
@example("٣")
@example("")
def test_tags(text: str) -> None:
    """A tag is parsed if it follows the grammar."""
    if SPEC_TAG.match(text):
        assert str(Tag.parse(text)) == text
        assert parse_reference(text) == Tag(text)
    else:
        with pytest.raises(TagInvalid):
            Tag.parse(text)


@MANY
@given(text=st.one_of(IDS, _spoiled(IDS), IDS.map(str.upper), ANY_TEXT))
@example("../../../etc")
@example("00000000-0000-0000-0000-000000000000\n")
@example("{00000000-0000-0000-0000-000000000000}")
@example("00000000000000000000000000000000")
def test_upload_ids(text: str) -> None:
    """An upload id is a UUID in the form of `str`; other forms of `uuid.UUID` are refused."""
    try:
        canonical = str(uuid.UUID(text)) == text
    except (ValueError, UnicodeEncodeError):
        canonical = False
    if canonical:
        assert str(UploadId.parse(text)) == text
    else:
        with pytest.raises(UploadIdInvalid):
            UploadId.parse(text)


def test_new_upload_ids_can_be_parsed_and_differ() -> None:
    """New ids follow our own grammar."""
    drawn = {UploadId.new() for _ in range(100)}
    assert len(drawn) == 100
    assert {UploadId.parse(str(one)) for one in drawn} == drawn


@MANY
@given(text=ANY_TEXT)
def test_a_reference_is_a_tag_or_a_digest(text: str) -> None:
    """A colon decides which of the two errors is raised."""
    kind = SPEC_DIGEST if ":" in text else SPEC_TAG
    if kind.match(text):
        assert str(parse_reference(text)) == text
    else:
        with pytest.raises(DigestInvalid if ":" in text else TagInvalid):
            parse_reference(text)


@pytest.mark.parametrize("algorithm", sorted(HEX_LENGTHS))
def test_a_digest_of_bytes_is_hashlib_s(algorithm: str) -> None:
    """`Digest.of` hashes content; `is_empty` recognises the digest of empty content."""
    assert Digest.of(b"", algorithm).is_empty
    assert not Digest.of(b"x", algorithm).is_empty
    assert len(Digest.of(b"x", algorithm).hex) == HEX_LENGTHS[algorithm]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha384", "", "SHA256", "sha256 ", "x" * 500])
def test_an_algorithm_we_cannot_verify_is_refused(algorithm: str) -> None:
    """Also without a hash, and the message is short."""
    with pytest.raises(DigestInvalid) as refused:
        supported(algorithm)
    assert len(str(refused.value)) < 200


@MANY
@given(text=st.text(max_size=2000))
def test_messages_are_short_and_printable(text: str) -> None:
    """Input of a client is quoted and cut, and never breaks a log line or an encoding."""
    for parse in (Digest.parse, Tag.parse, RepositoryName.parse, UploadId.parse):
        for message in _refusals(parse, text):
            assert message.isprintable()
            message.encode()
            assert len(message) < 3000


def _refusals(parse: Callable[[str], object], text: str) -> list[str]:
    """Return the message with which a text is refused; nothing when it is parsed."""
    try:
        parse(text)
    except InvalidInput as error:
        return [str(error)]
    return []
