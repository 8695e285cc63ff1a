"""Durations are Go's: each text is accepted or refused as Go does."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config.units import (
    in_go_words,
    parse_duration,
    parse_duration_with_unit,
)

YEARS_THAT_FIT = timedelta(days=292 * 365)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("168h", timedelta(hours=168)),
        ("1m30s", timedelta(seconds=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("1.5h", timedelta(minutes=90)),
        (".5s", timedelta(milliseconds=500)),
        ("1.s", timedelta(seconds=1)),
        ("250us", timedelta(microseconds=250)),
        ("250\u00b5s", timedelta(microseconds=250)),
        ("250\u03bcs", timedelta(microseconds=250)),
        ("2000ns", timedelta(microseconds=2)),
        ("1ns", timedelta(0)),
        ("-5s", timedelta(seconds=-5)),
        ("+5s", timedelta(seconds=5)),
        ("0", timedelta(0)),
        ("60000000000", timedelta(minutes=1)),
        ("1h0m0s", timedelta(hours=1)),
    ],
)
def test_a_duration_of_go_is_parsed(text: str, expected: timedelta) -> None:
    """Each form of Go's time.ParseDuration, and a number of nanoseconds, has Go's value."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "5 s",
        "5d",
        "1h 30m",
        "5S",
        ".s",
        "1..5s",
        "--5s",
        "1h-5m",
        "five",
        "\u0665s",
        "5s\n",
    ],
)
def test_what_go_refuses_is_refused(text: str) -> None:
    """A text that Go refuses is refused, and the message shows an example."""
    with pytest.raises(ValueError, match="must be a duration, such as 30s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "3000000h", "-3000000h"])
def test_a_duration_beyond_64_bits_is_refused(text: str) -> None:
    """It does not wrap around to another duration."""
    with pytest.raises(ValueError, match="less than 292 years"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["604800", "-1", "1" * 5000])
def test_a_number_is_refused_where_a_unit_is_required(text: str) -> None:
    """Durations that decide what is deleted are never read as nanoseconds."""
    with pytest.raises(ValueError, match="needs a unit"):
        parse_duration_with_unit(text)


@pytest.mark.parametrize("text", ["0", "0s", "168h"])
def test_zero_needs_no_unit(text: str) -> None:
    """Zero is the same in any unit."""
    assert parse_duration_with_unit(text) == parse_duration(text)


@given(st.timedeltas(timedelta(), YEARS_THAT_FIT))
def test_parse_and_format_are_inverse(duration: timedelta) -> None:
    """For every duration that is formatted and that Go can represent."""
    assert parse_duration(in_go_words(duration)) == duration


@given(st.text(max_size=150))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    """The parser raises nothing else, and its results can be formatted and parsed again."""
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(in_go_words(abs(duration))) == abs(duration)


@pytest.mark.parametrize(
    "text", ["0s", "1s", "1.5s", "500ms", "0.25ms", "30m0s", "1m30s", "1h0m0s", "168h0m0s"]
)
def test_durations_are_formatted_as_in_go(text: str) -> None:
    """Hours and minutes are followed by the smaller units."""
    assert in_go_words(parse_duration(text)) == text
