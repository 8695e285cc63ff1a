"""Uploads over a real socket: cut, pipelined, malformed, broken off, refused, and many at once."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from tests.live.conftest import CONFIG
from tests.live.sockets import Connection, head_of
from tests.live.transfers import arrived, begin, finish, held, open_files, start_patch, until
from tests.support.servers import RegistryServer
from tests.support.tools import require_root, require_tool, run
from tests.support.wire import Answer, sha256

pytestmark = pytest.mark.live

Connect: TypeAlias = Callable[[], Connection]

MIB = 1 << 20
CONTENT = random.Random(3).randbytes(7 * MIB + 321)
SMALL = b"small\r\n\r\n0\r\n\r\n"
LAST = b"0\r\n\r\n"

# Looks at an upload, 0.1 s apart, that find the same length.
_SAME_LENGTHS = 5


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Give a server with one worker, on which everything meets."""
    with RegistryServer(tmp_path_factory.mktemp("alone"), config=CONFIG, workers=1) as server:
        yield server


def chunks(content: bytes, sizes: list[int]) -> bytes:
    """Frame content in chunks of these sizes, over and over, but for the last."""
    framed, at, number = [], 0, 0
    while at < len(content):
        chunk = content[at : at + sizes[number % len(sizes)]]
        framed.append(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        at, number = at + len(chunk), number + 1
    return b"".join(framed)


def counted(line: str, content: bytes) -> bytes:
    """Return a request with a body of a declared length."""
    return head_of(f"{line} HTTP/1.1\nContent-Length: {len(content)}") + content


def chunked(line: str, content: bytes, sizes: list[int], last: bytes = LAST) -> bytes:
    """Return a request with a body in chunks."""
    head = head_of(f"{line} HTTP/1.1\nTransfer-Encoding: chunked")
    return head + chunks(content, sizes) + last


def send_all(connection: Connection, pieces: list[bytes]) -> threading.Thread:
    """Send pieces, each in a packet of its own if they are small, while the test reads."""
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send() -> None:
        for piece in pieces:
            connection.send(piece)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def in_pieces(data: bytes, chance: random.Random) -> list[bytes]:
    """Cut data into pieces of all sizes."""
    pieces, at = [], 0
    while at < len(data):
        size = chance.choice([1, 10, 1000, 50_000, 500_000, 2 * MIB])
        pieces.append(data[at : at + size])
        at += size
    return pieces


def length(server: RegistryServer, path: str) -> int:
    """Return how many bytes an upload holds, which Range says unless it is none or one."""
    name, _, uuid = path.removeprefix("/v2/").partition("/blobs/uploads/")
    size = (server.upload_folder(name, uuid) / "data").stat().st_size
    assert held(server, path) == max(size, 1)
    return size


def final_length(server: RegistryServer, path: str) -> int:
    """Return how many bytes an upload holds once the server has stopped writing.

    A malformed body is answered at once, perhaps before the session's file is opened for what came
    before the mistake. So the length has to be the same for a while.
    """
    lengths = [-1]

    def is_final() -> bool:
        time.sleep(0.1)
        lengths.append(-1 if arrived(server, path) else length(server, path))
        return lengths[-1] >= 0 and len(set(lengths[-_SAME_LENGTHS:])) == 1

    until(is_final, "the session is let go of")
    return lengths[-1]


def is_absent(server: RegistryServer, name: str, content: bytes) -> bool:
    """Tell whether no such blob was committed."""
    return server.wire.request("HEAD", f"/v2/{name}/blobs/{sha256(content)}").status == 404


def test_an_upload_in_single_bytes(shared: RegistryServer, connect: Connect, name: str) -> None:
    """A sender that is as slow as can be: head, chunks and trailers, on one connection."""
    path = begin(shared, name)
    trailer = b"0\r\nX-Trailer: t\r\n\r\n"
    sent = counted(f"PATCH {path}", SMALL) + chunked(f"PATCH {path}", SMALL, [3, 1], trailer)
    sent += chunked(f"PUT {path}?digest={sha256(SMALL * 3)}", SMALL, [5])
    connection = connect()
    thread = send_all(connection, [bytes([byte]) for byte in sent])
    assert [connection.answer().status for _ in range(3)] == [202, 202, 201]
    thread.join()
    blob = f"/v2/{name}/blobs/{sha256(SMALL * 3)}"
    assert connection.ask(f"GET {blob} HTTP/1.1").body == SMALL * 3


@pytest.mark.parametrize("seed", range(4))
def test_large_uploads_cut_anywhere(
    shared: RegistryServer, connect: Connect, name: str, seed: int
) -> None:
    """Both framings, one request behind the other, in packets and chunks of all sizes."""
    chance = random.Random(seed)
    sizes = [chance.choice([1, 17, 4096, 100_000, MIB, 3 * MIB]) for _ in range(50)]
    path = begin(shared, name)
    digest = sha256(CONTENT * 3)
    sent = counted(f"PATCH {path}", CONTENT) + chunked(f"PATCH {path}", CONTENT, sizes)
    sent += chunked(f"PUT {path}?digest={digest}", CONTENT, [chance.randrange(1000, 90_000)])
    sent += head_of(f"GET /v2/{name}/blobs/{digest} HTTP/1.1")
    connection = connect()
    thread = send_all(connection, in_pieces(sent, chance))
    assert [connection.answer().status for _ in range(3)] == [202, 202, 201]
    assert connection.answer().body == CONTENT * 3
    thread.join()


@pytest.mark.parametrize("size", [1, 60_000, 140_000, 200_000, 250_000, 400_000])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_a_body_in_one_packet_with_its_head(
    shared: RegistryServer, connect: Connect, name: str, size: int, framing: str
) -> None:
    """However much of it has arrived before it is read, and on a connection that is kept."""
    content = CONTENT[:size]
    connection = connect()
    for number in range(4):
        path = begin(shared, name)
        target = f"PUT {path}?digest={sha256(content)}"
        sent = (
            counted(target, content) if framing == "counted" else chunked(target, content, [size])
        )
        connection.send(sent)
        assert connection.answer().status == 201, number


@pytest.mark.parametrize("behind", [1, 1000, 140_000, 200_000])
def test_requests_that_begin_in_the_midst_of_a_large_buffer(
    shared: RegistryServer, connect: Connect, name: str, behind: int
) -> None:
    """What came along with the end of a body is the next request, head, body and all."""
    path = begin(shared, name)
    content, more = CONTENT[: 2 * MIB], CONTENT[:behind]
    digest = sha256(content + more + more)
    sent = counted(f"PATCH {path}", content) + chunked(f"PATCH {path}", more, [777])
    sent += counted(f"PUT {path}?digest={digest}", more)
    sent += head_of(f"HEAD /v2/{name}/blobs/{digest} HTTP/1.1") + head_of("GET /v2/ HTTP/1.1")
    connection = connect()
    cut = len(head_of(f"PATCH {path} HTTP/1.1\nContent-Length: {len(content)}")) + MIB + 9
    connection.send(sent[:cut])
    until(lambda: arrived(shared, path), "the body is received")
    thread = send_all(connection, [sent[cut:]])
    methods = ("PATCH", "PATCH", "PUT", "HEAD", "GET")
    assert [connection.answer(each).status for each in methods] == [202, 202, 201, 200, 200]
    thread.join()


@pytest.mark.parametrize("before", [0, 10, 100_000, 3 * MIB])
@pytest.mark.parametrize("wrong", [b"xyz\r\n", b"5\r\nabcdefgh\r\n", b"0\r\nno trailer\r\n\r\n"])
def test_a_chunk_that_is_malformed(
    shared: RegistryServer, connect: Connect, name: str, before: int, wrong: bytes
) -> None:
    """400 and the end; the session holds what came before, not all that was meant, and goes on."""
    path, valid = begin(shared, name), CONTENT[:before]
    connection = connect()
    connection.send(chunked(f"PATCH {path}", valid, [70_000], last=b""))
    connection.send(wrong + head_of("GET /v2/ HTTP/1.1"))
    assert connection.answer("PATCH").status == 400
    assert_ended(connection)
    done = final_length(shared, path)
    assert done <= before + len(b"abcde")
    finish(shared, path, (valid + b"abcde")[:done] + CONTENT, done)


@pytest.mark.parametrize("line", ["PUT {path}?digest={digest}", "POST {start}?digest={digest}"])
@pytest.mark.parametrize("ends", ["malformed", "reset", "end"])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_a_body_that_breaks_off_commits_nothing(
    shared: RegistryServer, connect: Connect, name: str, line: str, ends: str, framing: str
) -> None:
    """Not even where all the bytes of the blob are there, but not the body's end."""
    path = begin(shared, name)
    start = path.rpartition("/")[0] + "/"
    content = CONTENT[: MIB + 3]
    target = line.format(path=path, start=start, digest=sha256(content))
    connection = connect()
    if framing == "chunked" or ends == "malformed":
        connection.send(chunked(target, content, [MIB // 3], last=b""))
    else:
        head = head_of(f"{target} HTTP/1.1\nContent-Length: {len(content) + 1}")
        connection.send(head + content)
    until(lambda: uploading(shared, name), "it is received")
    if ends == "malformed":
        connection.send(b"nonsense\r\n")
        assert connection.answer("PUT").status == 400
        assert_ended(connection)
    else:
        connection.vanish() if ends == "reset" else connection.close()
    until(lambda: not uploading(shared, name), "the session is let go of")
    assert is_absent(shared, name, content)
    if line.startswith("PUT"):
        finish(shared, path, content, length(shared, path))
    else:
        folder = shared.upload_folder(name, "x").parent
        until(lambda: len(list(folder.iterdir())) == 1, "the session of the POST is gone")


def uploading(server: RegistryServer, name: str) -> bool:
    """Tell whether the server has a session of a repository open."""
    return any(f"/{name}/_uploads/" in file for file in open_files(server))


def assert_ended(connection: Connection) -> None:
    """See to it that nothing follows, be it by a proper end or a reset."""
    with suppress(ConnectionResetError):  # so a kernel ends a connection with bytes left to read
        assert connection.is_closed()


@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_an_upload_that_breaks_off_again_and_again(
    shared: RegistryServer, name: str, framing: str
) -> None:
    """Each time Range says where to go on, wherever the packets ended; the digest is right."""
    chance = random.Random(4)
    path, done = begin(shared, name), 0
    for _ in range(8):
        rest = CONTENT[done : done + chance.randrange(1, MIB)]
        line = f"PATCH {path}"
        sent = counted(line, rest) if framing == "counted" else chunked(line, rest, [9999, 5])
        with Connection.to(shared.port) as connection:
            connection.send(sent[: chance.randrange(len(sent) // 3, len(sent))])
            until(lambda: arrived(shared, path), "it is received")
            if chance.random() < 0.5:
                connection.vanish()
        until(lambda: not arrived(shared, path), "the server noticed")
        assert done <= length(shared, path) <= done + len(rest)
        done = length(shared, path)
    finish(shared, path, CONTENT, done)


def test_a_writer_that_waited_and_left(shared: RegistryServer, name: str) -> None:
    """Who leaves while another holds the session does not hold it when its turn comes."""
    path = begin(shared, name)
    content = CONTENT[: 2 * MIB]
    with start_patch(shared, path, content, MIB) as first:
        until(lambda: arrived(shared, path), "the first has it")
        for reset in (True, False):
            waiting = start_patch(shared, path, content, 1000)
            waiting.vanish() if reset else waiting.close()
        first.send(content[MIB:])
        assert first.answer().status == 202
    until(lambda: not arrived(shared, path), "nobody holds it")
    done = length(shared, path)
    assert done >= len(content)
    finish(shared, path, (content + content[:1000] * 2)[:done], done)


@pytest.mark.parametrize("asks", ["", "\nExpect: 100-continue"])
@pytest.mark.parametrize(
    ("bounds", "framing", "status"),
    [
        ("5-9", "Content-Length: 5", 416),
        ("0-9", "Content-Length: 10", 416),
        ("x-y", "Content-Length: 3", 416),
        ("3-7", "Content-Length: 9000000", 400),
        ("3-7", "Content-Length: 0", 400),
        ("9-7", "Transfer-Encoding: chunked", 416),
    ],
)
def test_a_chunk_that_is_refused_before_it_is_read(
    shared: RegistryServer, connect: Connect, name: str,
    bounds: str, framing: str, status: int, asks: str,
) -> None:  # fmt: skip
    """No 100 is sent; what the session holds is kept."""
    path = begin(shared, name)
    shared.wire.expect(202, "PATCH", path, b"abc")
    connection = connect()
    connection.send(head_of(f"PATCH {path} HTTP/1.1\nContent-Range: {bounds}\n{framing}{asks}"))
    answer = connection.answer("PATCH")
    assert (answer.status, answer.header("Range")) == (status, "0-2")
    if answer.headers["Connection"] != "close":
        length = int(framing.partition(": ")[2]) if "Length" in framing else None
        connection.send(LAST if length is None else bytes(length))
        assert connection.ask("GET /v2/ HTTP/1.1").status == 200
    finish(shared, path, b"abcdef", 3)


@pytest.mark.parametrize("sent", [5, 1_000_000, 1_000_002])
def test_a_chunked_body_that_is_not_what_it_declares(
    shared: RegistryServer, connect: Connect, name: str, sent: int
) -> None:
    """400; the session holds what it held before; the connection goes on."""
    path = begin(shared, name)
    shared.wire.expect(202, "PATCH", path, b"abc")
    connection = connect()
    request = chunked(f"PATCH {path}", CONTENT[:sent], [300_000])
    connection.send(request.replace(b"Host:", b"Content-Range: 3-1000003\r\nHost:", 1))
    answer = connection.answer("PATCH")
    assert (answer.status, answer.header("Range")) == (400, "0-2")
    assert connection.ask("GET /v2/ HTTP/1.1").status == 200
    finish(shared, path, b"abcdef", 3)


def test_bodies_of_nothing(shared: RegistryServer, connect: Connect, name: str) -> None:
    """In either framing they are chunks like any other, and so is the blob of nothing."""
    path = begin(shared, name)
    connection = connect()
    last = b"000;x\r\nA: b\r\n\r\n"
    connection.send(
        counted(f"PATCH {path}", b"")
        + chunked(f"PATCH {path}", b"", [1])
        + counted(f"PATCH {path}", b"abc")
        + chunked(f"PATCH {path}", b"", [1], last)
        + chunked(f"PUT {path}?digest={sha256(b'abc')}", b"", [1])
    )
    assert [connection.answer().status for _ in range(5)] == [202, 202, 202, 202, 201]
    nothing = f"/v2/{name}/blobs/uploads/?digest={sha256(b'')}"
    connection.send(chunked(f"POST {nothing}", b"", [1]) + counted(f"POST {nothing}", b""))
    assert [connection.answer().status for _ in range(2)] == [201, 201]


def test_asking_first_for_a_large_body(shared: RegistryServer, connect: Connect, name: str) -> None:
    """One 100, then the body, then one answer: in both framings on one connection."""
    path = begin(shared, name)
    connection = connect()
    for sent in (counted(f"PATCH {path}", CONTENT), chunked(f"PATCH {path}", CONTENT, [123_456])):
        head, _, body = sent.partition(b"\r\n\r\n")
        connection.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.answer().status == 100
        connection.send(body)
        assert connection.answer().status == 202
    finish(shared, path, CONTENT * 2, held(shared, path))


def test_http_1_0_uploads_a_large_blob(shared: RegistryServer, connect: Connect, name: str) -> None:
    """With its length, and without a 100."""
    target = f"/v2/{name}/blobs/uploads/?digest={sha256(CONTENT)}"
    connection = connect()
    head = f"POST {target} HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: {len(CONTENT)}\r\n"
    connection.send(f"{head}\r\n".encode() + CONTENT)
    assert connection.answer().status == 201
    assert connection.is_closed()
    assert not is_absent(shared, name, CONTENT)


def test_many_uploads_at_once(alone: RegistryServer, name: str) -> None:
    """Twenty on one worker, in turns and in both framings; others are answered meanwhile."""
    with ExitStack() as stack:
        uploads = []
        for number in range(20):
            content = bytes([number]) * 9 + CONTENT[: 3 * MIB]
            target = f"POST /v2/{name}/blobs/uploads/?digest={sha256(content)}"
            sent = counted(target, content) if number % 2 else chunked(target, content, [50_001])
            uploads.append((stack.enter_context(Connection.to(alone.port)), sent))
        step = MIB // 2 + 1
        for at in range(0, max(len(sent) for _, sent in uploads), step):
            for connection, sent in uploads:
                connection.send(sent[at : at + step])
            assert alone.wire.expect(200, "GET", "/v2/")
        assert [connection.answer().status for connection, _ in uploads] == [201] * 20


def test_uploads_leave_nothing_open(alone: RegistryServer, name: str) -> None:
    """However they end, no descriptor and no buffer is left."""
    process = psutil.Process(alone.pids()[0])
    counts = []
    for _ in range(3):
        for _ in range(4):
            break_off(alone, name)
            finish(alone, begin(alone, name), CONTENT, 0)
        until(lambda: idle(alone), "all connections are gone")
        counts.append((process.num_fds(), buffers(process)))
    assert counts[-1][0] <= counts[0][0]
    assert counts[-1][1] == 0


def break_off(server: RegistryServer, name: str) -> None:
    """End an upload in each way there is, and finish it after that."""
    for sent, leave in ((100_000, Connection.vanish), (2 * MIB, Connection.close)):
        path = begin(server, name)
        connection = start_patch(server, path, CONTENT, sent)
        until(lambda path=path: arrived(server, path), "it is received")  # type: ignore[misc]
        leave(connection)
        go_on(server, path)
    path = begin(server, name)
    with Connection.to(server.port) as connection:
        connection.send(chunked(f"PATCH {path}", CONTENT[:9999], [99], last=b"x\r\n"))
        assert connection.answer().status == 400
    go_on(server, path)


def go_on(server: RegistryServer, path: str) -> None:
    """Finish an upload once the server has stopped writing to it."""
    finish(server, path, CONTENT, final_length(server, path))


def buffers(process: psutil.Process) -> int:
    """Return how many buffers a process has, which are anonymous memory of their own."""
    return sum(each.path.startswith("/dev/zero") for each in process.memory_maps(grouped=False))


def idle(server: RegistryServer) -> bool:
    """Return whether no client is connected."""
    found = [one for pid in server.pids() for one in psutil.Process(pid).net_connections("tcp")]
    return all(one.status == psutil.CONN_LISTEN for one in found)


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """Mount a file system of that size at `folder`."""
    require_root()
    folder.mkdir()
    options = f"size={mebibytes}m"
    run([require_tool("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(folder)])
    try:
        yield folder
    finally:
        run([require_tool("umount"), str(folder)])


@pytest.mark.parametrize("framing", ["counted", "chunked"])
def test_a_disk_that_fills_up_while_the_client_sends(
    tmp_path: Path, name: str, framing: str
) -> None:
    """507 while it still sends; the connection and the session go on, with what is held."""
    with (
        small_disk(tmp_path / "disk", 6) as root,
        RegistryServer(tmp_path / "server", root, config=CONFIG, workers=1) as server,
    ):
        path = begin(server, name)
        line = f"PATCH {path}"
        content = CONTENT * 3
        sent = counted(line, content) if framing == "counted" else chunked(line, content, [60_000])
        with Connection.to(server.port) as connection:
            thread = send_all(connection, [sent, head_of("GET /v2/ HTTP/1.1")])
            statuses = [connection.answer().status for _ in range(2)]
            thread.join()
        assert statuses == [507, 200]
        done = held(server, path)
        assert MIB <= done < 6 * MIB
        data = server.upload_folder(name, path.rpartition("/")[2]) / "data"
        found = hashlib.sha256(data.read_bytes()[:done]).hexdigest()
        assert found == sha256(content[:done]).removeprefix("sha256:")
        server.wire.expect(204, "DELETE", path)
        finish(server, begin(server, name), SMALL, 0)


def test_a_chunked_upload_that_a_drain_cuts(tmp_path: Path, name: str) -> None:
    """503, and the session holds each byte that was sent."""
    hasty = CONFIG.replace("draintimeout: 20s", "draintimeout: 1s")
    server = RegistryServer(tmp_path / "server", config=hasty, workers=1).start()
    path = begin(server, name)
    content = CONTENT[: 3 * MIB + 77]
    with Connection.to(server.port) as connection:
        connection.send(chunked(f"PATCH {path}", content, [99_999], last=b""))
        until(lambda: held(server, path) >= MIB, "it is received")
        server.stop()
        answer: Answer = connection.answer()
        assert answer.status == 503
    with server:
        assert held(server, path) == len(content)
        finish(server, path, content, len(content))
