"""Sizes are a number and a unit, or a number of bytes; nothing else is read as one."""

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
    """By thousands, or by 1024 with an i; letters may be small."""
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
def test_what_is_no_size_is_refused(text: str) -> None:
    """A unit that could be read in two ways as well."""
    with pytest.raises(ValueError, match="must be a number of bytes"):
        parse_size(text)


@given(st.integers(0, 10**18 - 1), st.sampled_from(["", "B", "kB", "MIB", "TiB", " GB"]))
def test_a_number_with_a_unit_is_always_a_size(number: int, unit: str) -> None:
    """Never less than the number itself."""
    assert parse_size(f"{number}{unit}") >= number
