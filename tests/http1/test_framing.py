"""Where a body ends, for any framing and packets; other parsers agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_server.serving.http1.framing import (
    ChunkedFraming,
    Framing,
    FramingError,
    LengthFraming,
)

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\n\r\n"
GUARD = b"guard"

sizes = st.sampled_from([1, 2, 9, 10, 15, 16, 31, 32, 33, 64, 255, 256, 5000]) | st.integers(1, 70)
chunk_contents = sizes.map(lambda size: bytes(at % 251 for at in range(size)))
extensions = st.sampled_from([b"", b";x", b";a=b", b';q="1 2"', b";" + b"e" * 40])
trailers = st.sampled_from(
    [b"A: b\r\n", b"Empty:\r\n", b"X-Digest: \xe9\r\n", b"L: " + b"t" * 99 + b"\r\n"]
)
cuts = st.lists(st.integers(0, 6000), max_size=12)


@dataclass(frozen=True, slots=True)
class Taken:
    """A parsed body: its content, the bytes consumed, and whether it is complete."""

    content: bytes
    used: int
    done: bool


def take(framing: Framing, arrivals: Iterable[bytes]) -> Taken:
    """Feed a framing until it is done; check that it changes nothing outside its bytes."""
    content, used = b"", 0
    for arrival in arrivals:
        # Long input is consumed in several turns, each of which advances.
        while arrival and not framing.done:
            whole = bytearray(GUARD + arrival + GUARD)
            window = memoryview(whole)[len(GUARD) : -len(GUARD)]
            taken = framing.take(window)
            assert whole.startswith(GUARD)
            assert whole.endswith(GUARD)
            assert taken.kept <= taken.used <= len(arrival)
            assert taken.used
            assert window[taken.used :] == arrival[taken.used :]
            content += window[: taken.kept]
            used += taken.used
            arrival = arrival[taken.used :]
            assert framing.content == len(content)
    return Taken(content, used, framing.done)


def split(data: bytes, at: Sequence[int]) -> list[bytes]:
    """Cut `data` at these places, as far as it has them."""
    bounds = [0, *sorted({cut for cut in at if 0 < cut < len(data)}), len(data)]
    return [data[start:stop] for start, stop in pairwise(bounds)]


def singly(data: bytes) -> list[bytes]:
    """Cut `data` into single bytes."""
    return [data[at : at + 1] for at in range(len(data))]


def ours(data: bytes, at: Sequence[int] = ()) -> Taken | None:
    """Return our reading of a chunked body; None if it is refused."""
    try:
        return take(ChunkedFraming(), split(data, at))
    except FramingError:
        return None


class _Heard:
    """What httptools' parser said."""

    def __init__(self) -> None:
        self.content = b""
        self.done = False

    def on_body(self, body: bytes) -> None:
        """Note a part of the body."""
        self.content += body

    def on_message_complete(self) -> None:
        """Note the end."""
        self.done = True


def by_httptools(data: bytes) -> Taken | None:
    """Return llhttp's reading of a chunked body; it is httptools' parser."""
    heard = _Heard()
    parser = httptools.HttpRequestParser(heard)
    parser.feed_data(HEAD)
    for used, byte in enumerate(singly(data), 1):
        try:
            parser.feed_data(byte)
        except httptools.HttpParserError:
            return None
        if heard.done:
            return Taken(heard.content, used, done=True)
    return Taken(heard.content, len(data), done=False)


def by_h11(data: bytes) -> Taken | None:
    """Return h11's reading of a chunked body."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(HEAD + data)
    content = b""
    try:
        while True:
            event = reader.next_event()
            if isinstance(event, h11.Data):
                content += bytes(event.data)
            elif event is h11.NEED_DATA:
                return Taken(content, len(data), done=False)
            elif isinstance(event, h11.EndOfMessage):
                return Taken(content, len(data) - len(reader.trailing_data[0]), done=True)
    except h11.RemoteProtocolError:
        return None


def assert_others_agree(taken: Taken, framed: bytes) -> None:
    """Compare our reading of a body with that of other parsers.

    Each has its own grammar for extensions, which no client uses: there it may refuse.
    """
    for other in (by_httptools(framed), by_h11(framed)):
        assert other == taken or (other is None and b";" in framed)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a chunked body that is well-formed: its content, and its bytes on the wire."""
    contents = draw(st.lists(chunk_contents, max_size=6))
    framed = b""
    for content in contents:
        size = draw(st.sampled_from([b"%x", b"%X", b"%05x"])) % len(content)
        framed += size + draw(extensions) + b"\r\n" + content + b"\r\n"
    framed += draw(st.sampled_from([b"0", b"00000"])) + draw(extensions) + b"\r\n"
    framed += b"".join(draw(st.lists(trailers, max_size=3))) + b"\r\n"
    return b"".join(contents), framed


@st.composite
def damaged_bodies(draw: st.DrawFn) -> bytes:
    """Draw a chunked body in which something was replaced, put in or left out."""
    _, framed = draw(bodies())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(framed) - 1, 0)))
        pieces = [
            b"",
            b"\r",
            b"\n",
            b"\r\n",
            b" ",
            b"\t",
            b";",
            b":",
            b"0",
            b"f",
            b"g",
            b"-",
            b"\0",
        ]
        piece = draw(st.sampled_from([*pieces, b"+", b"_", b"\x0b", b"\x7f", b"\x80", b'"']))
        framed = framed[:at] + piece + framed[at + draw(st.integers(0, 2)) :]
    return framed


@given(st.binary(max_size=300), st.integers(0, 300), cuts)
def test_a_counted_body_ends_after_so_many_bytes(data: bytes, length: int, at: list[int]) -> None:
    """However it arrives; what lies behind it stays where it is."""
    framing = LengthFraming(length)
    taken = take(framing, split(data, at))
    assert taken == Taken(data[:length], min(length, len(data)), length <= len(data))
    assert framing.ahead == max(length - len(data), 0)


@given(bodies(), cuts)
def test_a_chunked_body_is_its_content_however_it_arrives(
    body: tuple[bytes, bytes], at: list[int]
) -> None:
    """The same content, and the same leftover, which is the next request."""
    content, framed = body
    expected = Taken(content, len(framed), done=True)
    assert ours(framed + NEXT, at) == expected
    assert take(ChunkedFraming(), singly(framed + NEXT)) == expected


@given(bodies(), st.integers(0, 6000), cuts)
def test_what_arrived_of_a_body_is_the_beginning_of_it(
    body: tuple[bytes, bytes], end: int, at: list[int]
) -> None:
    """When a client leaves, the body is all that it sent, and nothing else."""
    content, framed = body
    taken = ours(framed[:end], at)
    assert taken is not None
    assert taken.done is (end >= len(framed))
    assert content.startswith(taken.content)
    assert taken == by_h11(framed[:end])


@settings(max_examples=300)
@given(damaged_bodies(), cuts)
def test_a_body_that_is_accepted_is_read_as_other_parsers_read_it(
    framed: bytes, at: list[int]
) -> None:
    """Parsers that disagree about the end would allow request smuggling."""
    taken = ours(framed, at)
    if taken is not None and taken.done:
        assert_others_agree(taken, framed)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(list(b'01aF;=: \t\r\nx"')), max_size=40).map(bytes), cuts)
def test_noise_that_is_accepted_is_read_as_other_parsers_read_it(
    framed: bytes, at: list[int]
) -> None:
    """The same for bytes that are hardly ever well-formed."""
    framed = b"2\r\nab\r\n" + framed
    taken = ours(framed, at)
    if taken is not None and taken.done:
        assert_others_agree(taken, framed)


@settings(max_examples=300)
@given(damaged_bodies(), cuts)
def test_the_verdict_does_not_depend_on_the_packets(framed: bytes, at: list[int]) -> None:
    """Whole, cut anywhere, and byte by byte."""
    whole = ours(framed)
    assert ours(framed, at) == whole
    assert ours(framed, range(len(framed))) == whole


@pytest.mark.parametrize(
    "framed",
    [
        b"\r\n",
        b"\n",
        b" 5\r\nabcde\r\n0\r\n\r\n",
        b"5 \r\nabcde\r\n0\r\n\r\n",
        b"5\nabcde\r\n0\r\n\r\n",
        b"5\r\rabcde\r\n",
        b"5\r\nabcde0\r\n\r\n",
        b"5\r\nabcde\n0\r\n\r\n",
        b"5\r\nabcde\r0\r\n\r\n",
        b"5\r\nabcdef\r\n0\r\n\r\n",
        b"5\r\nabcd\r\n0\r\n\r\n",
        b"5\r\nabcde\r\n\r\n0\r\n\r\n",
        b"0x5\r\nabcde\r\n0\r\n\r\n",
        b"+5\r\nabcde\r\n0\r\n\r\n",
        b"-5\r\nabcde\r\n0\r\n\r\n",
        b"1_0\r\n" + bytes(16) + b"\r\n0\r\n\r\n",
        b"5 5\r\nabcde\r\n0\r\n\r\n",
        b"5,5\r\nabcde\r\n0\r\n\r\n",
        b"\xb2\r\nab\r\n0\r\n\r\n",
        b"5;\x00\r\nabcde\r\n0\r\n\r\n",
        b"5;a\rb\r\nabcde\r\n0\r\n\r\n",
        b"5;a\nb\r\nabcde\r\n0\r\n\r\n",
        b"g\r\n",
        b"ffffffffffffffff\r\n",
        b"10000000000000000\r\n",
        b"0\n\n",
        b"0\r\n\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: no name\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\n A: b\r\n\r\n",
        b"0\r\nA: b\r\n folded\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nA: \x00\r\n\r\n",
        b"0\r\nA: b\rc\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_body_that_is_framed_wrongly_is_refused(framed: bytes) -> None:
    """Whole and byte by byte; nothing is guessed."""
    assert ours(framed) is None
    assert ours(framed, range(len(framed))) is None


@pytest.mark.parametrize("step", [1, 7, 5000])
def test_the_first_line_of_a_chunk_is_limited(step: int) -> None:
    """4 KiB with all its extensions, and a byte more is too much, even of an unfinished one."""
    line = b"1;" + b"e" * 4092 + b"\r\n"
    rest = b"a\r\n0\r\n\r\n"
    every = range(0, 5000, step)
    assert ours(line + rest, every) == Taken(b"a", len(line + rest), done=True)
    assert ours(b"1;e" + line[2:] + rest, every) is None
    assert ours(b"1;" + b"e" * 4095, every) is None
    assert ours(b"1" * 16, every) == Taken(b"", 16, done=False)


@pytest.mark.parametrize("step", [1, 7, 5000])
def test_trailers_are_limited(step: int) -> None:
    """16 KiB in all, which count whether they are many or long."""
    field = b"A: " + b"t" * 1019 + b"\r\n"
    assert len(field) == 1024
    every = range(0, 20_000, step)
    most = b"0\r\n" + field * 15 + field[2:4] + b"x:" + b"t" * 1016 + b"\r\n"
    fits = b"0\r\n" + field * 15 + b"A:" + b"t" * 1018 + b"\r\n" + b"\r\n"
    assert len(fits) == 3 + (16 << 10)
    assert ours(fits, every) == Taken(b"", len(fits), done=True)
    assert ours(b"0\r\nB" + fits[3:], every) is None
    assert ours(most, every) is None


def test_the_tiniest_chunks() -> None:
    """A byte in each: all of them, in place, wherever the buffer ends."""
    content = bytes(at % 256 for at in range(10_000))
    framed = b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"
    for step in (1, 5, 4096, len(framed)):
        taken = ours(framed + NEXT, range(0, len(framed), step))
        assert taken == Taken(content, len(framed), done=True)


def test_content_that_looks_like_framing() -> None:
    """It is content, wherever the packets end."""
    content = b"\r\n0\r\n\r\n5\r\nabcde\r\n" * 3
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
    for cut in range(len(framed)):
        assert ours(framed + NEXT, [cut]) == Taken(content, len(framed), done=True)


def test_nothing_is_taken_behind_the_end() -> None:
    """A framing that is done reads no more."""
    for framing, data in ((ChunkedFraming(), b"0\r\n\r\n"), (LengthFraming(3), b"abc")):
        framing.take(memoryview(bytearray(data)))
        assert framing.done
        assert framing.take(memoryview(bytearray(b"more"))) == (0, 0)
