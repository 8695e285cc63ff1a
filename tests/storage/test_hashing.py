"""Hashers agree with hashlib, and their state is that of Go, byte for byte."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.content import hashing
from storage.content.hashing import Hasher, Hashers, LibcryptoHashers, PlainHashers, best_hashers
from storage.values.digest import Digest
from tests.storage.examples import MANY

ALGORITHMS = ("sha256", "sha512")
BLOCKS = {"sha256": 64, "sha512": 128}
SIZES = {"sha256": 108, "sha512": 204}
WORDS = {"sha256": 32, "sha512": 64}
MAGIC = {"sha256": b"sha\x03", "sha512": b"sha\x07"}
# FIPS 180-4, 5.3.3 and 5.3.5.
INITIAL = {
    "sha256": "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19",
    "sha512": "6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1"
    "510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179",
}

algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)
pieces = st.lists(st.binary(max_size=300), max_size=8)


@pytest.fixture(params=["libcrypto", "plain"])
def hashers(request: pytest.FixtureRequest) -> Hashers:
    """Give each kind of hashers; where tests run, libcrypto must be available."""
    if request.param == "plain":
        return PlainHashers()
    found = best_hashers()
    assert isinstance(found, LibcryptoHashers)
    return found


def _state(algorithm: str, words: bytes, block: bytes, length: int) -> bytes:
    """Encode a state as Go does."""
    padded = block.ljust(BLOCKS[algorithm], b"\0")
    return MAGIC[algorithm] + words + padded + length.to_bytes(8, "big")


def _restored(algorithm: str, state: bytes | None) -> Hasher:
    assert state is not None
    hasher = best_hashers().restore(algorithm, state)
    assert hasher is not None
    return hasher


@algorithms
@MANY
@given(parts=pieces)
def test_any_split_gives_hashlib_s_digest(
    hashers: Hashers, algorithm: str, parts: list[bytes]
) -> None:
    """The digest does not depend on how the bytes are split, nor on the type of the buffers."""
    hasher = hashers.new(algorithm)
    for at, part in enumerate(parts):
        hasher.update(bytearray(part) if at % 2 else part)
        hasher.digest()
    whole = b"".join(parts)
    assert hasher.length == len(whole)
    assert str(hasher.digest()) == f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}"


@algorithms
@MANY
@given(before=st.binary(max_size=400), after=st.binary(max_size=400))
def test_a_saved_state_continues_where_it_was_saved(
    algorithm: str, before: bytes, after: bytes
) -> None:
    """Export and import are inverse at any offset, and hashing goes on from there."""
    first = best_hashers().new(algorithm)
    first.update(before)
    second = _restored(algorithm, first.state())
    assert (second.length, second.algorithm) == (len(before), algorithm)
    assert second.state() == first.state()
    second.update(after)
    assert second.digest() == Digest.of(before + after, algorithm)
    assert first.digest() == Digest.of(before, algorithm)


@algorithms
@MANY
@given(content=st.binary(max_size=400))
def test_a_state_is_go_s_encoding(algorithm: str, content: bytes) -> None:
    """Magic, the words after all whole blocks, the rest zero-padded, the length."""
    hasher = best_hashers().new(algorithm)
    hasher.update(content)
    state = hasher.state()
    assert state is not None
    assert len(state) == SIZES[algorithm]
    rest = content[len(content) // BLOCKS[algorithm] * BLOCKS[algorithm] :]
    words = state[4 : 4 + WORDS[algorithm]]
    assert state == _state(algorithm, words, rest, len(content))


@algorithms
def test_the_initial_state_is_the_standard_s(algorithm: str) -> None:
    """Over zero bytes the words are those of FIPS 180-4, also while a block fills."""
    hasher = best_hashers().new(algorithm)
    initial = bytes.fromhex(INITIAL[algorithm])
    assert hasher.state() == _state(algorithm, initial, b"", 0)
    hasher.update(b"abc")
    assert hasher.state() == _state(algorithm, initial, b"abc", 3)


def test_the_state_after_abc_is_these_bytes() -> None:
    """The complete file that distribution writes after three bytes."""
    hasher = best_hashers().new("sha256")
    hasher.update(b"abc")
    expected = (
        "73686103"
        "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
        "616263" + "00" * 61 + "0000000000000003"
    )
    assert hasher.state() == bytes.fromhex(expected)


@algorithms
def test_the_words_after_a_block_are_the_digest_of_what_it_pads(algorithm: str) -> None:
    """A message's digest is the words after its padded blocks, so hashlib gives the expectation."""
    message, block = b"abc", BLOCKS[algorithm]
    length = (len(message) * 8).to_bytes(8, "big")
    padded = (message + b"\x80").ljust(block - 8, b"\0") + length
    hasher = best_hashers().new(algorithm)
    hasher.update(padded)
    words = hashlib.new(algorithm, message).digest()
    assert hasher.state() == _state(algorithm, words, b"", block)


@algorithms
def test_a_state_s_length_may_be_of_any_size(algorithm: str) -> None:
    """More than 512 MiB do not fit the lower half of the bit count."""
    length = (1 << 40) + 3
    words = bytes.fromhex(INITIAL[algorithm])
    state = _state(algorithm, words, b"abc", length)
    hasher = _restored(algorithm, state)
    assert (hasher.length, hasher.state()) == (length, state)
    block = BLOCKS[algorithm]
    bits = (length * 8).to_bytes(block // 8, "big")
    last = (b"abc\x80").ljust(block - len(bits), b"\0") + bits
    finished = _restored(algorithm, _state(algorithm, words, b"", 0))
    finished.update(last)
    after = finished.state()
    assert after is not None
    assert bytes.fromhex(hasher.digest().hex) == after[4 : 4 + WORDS[algorithm]]


@algorithms
@MANY
@given(junk=st.binary(max_size=250))
def test_a_malformed_state_is_refused(algorithm: str, junk: bytes) -> None:
    """Any other length or magic returns None: no error and no hasher."""
    assume(len(junk) != SIZES[algorithm] or not junk.startswith(MAGIC[algorithm]))
    assert best_hashers().restore(algorithm, junk) is None


@algorithms
def test_a_damaged_state_is_refused(algorithm: str) -> None:
    """Truncated, too long, of the other algorithm, of SHA-224 or SHA-384."""
    good = _state(algorithm, bytes.fromhex(INITIAL[algorithm]), b"abc", 3)
    other = ALGORITHMS[1 - ALGORITHMS.index(algorithm)]
    for bad in (b"", good[:-1], good + b"\0", b"sha\x02" + good[4:], b"sha\x04" + good[4:]):
        assert best_hashers().restore(algorithm, bad) is None
    assert best_hashers().restore(other, good) is None


@algorithms
def test_plain_hashers_have_no_state(algorithm: str) -> None:
    """They export no state and restore none, whatever it is."""
    assert PlainHashers().new(algorithm).state() is None
    state = best_hashers().new(algorithm).state()
    assert state is not None
    plain: Hashers = PlainHashers()
    assert plain.restore(algorithm, state) is None


@pytest.fixture
def looked_for_again() -> Iterator[None]:
    """Look for libcrypto again in this test, and as usual after it.

    Request this fixture before the one that patches, so that it is undone after that.
    """
    best_hashers.cache_clear()
    yield
    best_hashers.cache_clear()
    assert isinstance(best_hashers(), LibcryptoHashers)


@pytest.mark.parametrize("candidates", [[], ["/nowhere/libcrypto.so"], ["libc.so.6"]])
def test_a_missing_libcrypto_is_logged_once(
    looked_for_again: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    candidates: list[str],
) -> None:
    """Without a library, or with one that lacks the functions, hashlib is used."""
    monkeypatch.setattr(hashing, "_candidates", lambda: candidates)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert isinstance(best_hashers(), PlainHashers)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "libcrypto" in caplog.text


def test_a_libcrypto_that_hashes_wrongly_is_not_trusted(
    looked_for_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A struct with an unexpected layout is detected before it is used."""
    broken = hashing._LAYOUTS["sha256"]
    wrong = hashing._Layout(
        "SHA256", broken.context, broken.magic, broken.encoding, word_bits=32, block_size=63
    )
    monkeypatch.setitem(hashing._LAYOUTS, "sha256", wrong)
    assert isinstance(best_hashers(), PlainHashers)
