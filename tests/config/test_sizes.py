"""Sizes are a number of bytes, or a number and a unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config.units import parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512B", 512),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("4MiB", 4 << 20),
        ("4 MiB", 4 << 20),
        ("10GB", 10 * 10**9),
        ("2TiB", 2 << 40),
        (" 1KB ", 1000),
        ("1.5MiB", 3 << 19),
        ("0.1B", 1),
    ],
)
def test_a_size_is_a_number_of_bytes(text: str, expected: int) -> None:
    """Units are powers of 1000, or of 1024 with an i, in any case."""
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MiB",
        "4M",
        "4K",
        "1.5.1MiB",
        ".5MiB",
        "-1",
        "+1",
        "1e6",
        "4  MiB",
        "0x10",
        "\u0664",
        "4MiB4",
    ],
)
def test_an_invalid_size_is_refused(text: str) -> None:
    """Including an ambiguous unit."""
    with pytest.raises(ValueError, match="must be a number of bytes"):
        parse_size(text)


@given(st.integers(0, 10**18 - 1), st.sampled_from(["", "B", "kB", "MIB", "TiB", " GB"]))
def test_a_number_with_a_unit_is_always_a_size(number: int, unit: str) -> None:
    """It is never less than the number itself."""
    assert parse_size(f"{number}{unit}") >= number
