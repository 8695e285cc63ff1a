"""SIGHUP: the configuration is reloaded, and no pull is disturbed."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.live.programs import COMMAND, environment, serving
from tests.live.reloads import READ_ONLY, WRITABLE, ReloadedServer, pulling, text_of
from tests.live.sockets import Connection
from tests.live.transfers import arrived, begin, finish, held, start_patch, until
from tests.support.certificates import certificate
from tests.support.processes import family, kill_all
from tests.support.wire import OCI_MANIFEST, Answer, sha256

pytestmark = pytest.mark.live

CONTENT = os.urandom(3_000_000)
LAYER = b"a layer"
WAYS = [1, 2]

Served = Callable[[Mapping[str, object]], ReloadedServer]


@pytest.fixture(params=WAYS)
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    """Start a server with one worker, and with two; it must end cleanly."""
    started: list[ReloadedServer] = []

    def start(settings: Mapping[str, object]) -> ReloadedServer:
        server = ReloadedServer(tmp_path / "server", settings, request.param)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.__exit__(None, None, None)


def manifest(server: ReloadedServer, name: str) -> bytes:
    """Push a layer and return a manifest that names it."""
    digest = server.wire.push_blob(name, LAYER)
    layer = {"mediaType": "application/octet-stream", "digest": digest, "size": len(LAYER)}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": layer, "layers": [layer]}
    return json.dumps(document).encode()


def refused(answer: Answer) -> str:
    """Check a 405 of a registry that is read-only; return what it says."""
    (error,) = json.loads(answer.body)["errors"]
    assert (answer.status, error["code"]) == (405, "UNSUPPORTED")
    assert not {"PUT", "POST", "PATCH", "DELETE"} & set(answer.header("Allow").split(", "))
    return str(error["message"])


def test_readonly_is_switched_on_and_off_while_clients_pull(served: Served, name: str) -> None:
    """Pushing and deleting are refused in clear words, and then are not; no pull ever fails."""
    server = served(WRITABLE)
    image = manifest(server, name)
    tag = f"/v2/{name}/manifests/v1"
    server.wire.push_manifest(name, "v1", image, OCI_MANIFEST)
    blob = f"/v2/{name}/blobs/{sha256(LAYER)}"
    typed = {"Content-Type": OCI_MANIFEST}
    changes = [
        ("PUT", f"/v2/{name}/manifests/v2", image),
        ("POST", f"/v2/{name}/blobs/uploads/", b""),
        ("POST", f"/v2/{name}/other/blobs/uploads/?mount={sha256(LAYER)}&from={name}", b""),
        ("DELETE", tag, b""),
        ("DELETE", blob, b""),
    ]
    with pulling(server, blob, LAYER) as failures:
        server.reload(READ_ONLY)
        for method, path, body in changes:
            said = refused(server.wire.request(method, path, body, typed))
            assert "the registry is read-only" in said
            assert "pull" in said
        assert server.wire.expect(200, "GET", tag).body == image
        assert b'"v1"' in server.wire.expect(200, "GET", f"/v2/{name}/tags/list").body
        server.wire.expect(200, "GET", "/v2/_catalog")
        server.wire.expect(200, "GET", f"/v2/{name}/referrers/{sha256(image)}")
        server.reload(WRITABLE)
        server.wire.expect(201, *changes[0], typed)
        server.wire.push_blob(name, CONTENT)
        server.wire.expect(202, "DELETE", tag)
    assert failures == []


def test_pulls_survive_many_reloads(served: Served, name: str) -> None:
    """A connection that is open but unused is not cut, whenever its worker is replaced."""
    server = served(WRITABLE)
    blob = f"/v2/{name}/blobs/{server.wire.push_blob(name, LAYER)}"
    with pulling(server, blob, LAYER) as failures:
        for settings in (READ_ONLY, WRITABLE) * 3:
            server.reload(settings)
    assert failures == []


def test_an_upload_outlasts_readonly(served: Served, name: str) -> None:
    """What was begun before is finished; the rest of the session waits until it may go on."""
    server = served(WRITABLE)
    path = begin(server, name)
    with start_patch(server, path, CONTENT[:2_000_000], 1_000_000) as upload:
        until(lambda: arrived(server, path), "the upload began")
        server.config_file.write_text(text_of(READ_ONLY))
        server.hang_up()
        start = f"/v2/{name}/blobs/uploads/"
        until(lambda: server.wire.request("POST", start).status == 405, "it is read-only")
        upload.send(CONTENT[1_000_000:2_000_000])
        assert upload.answer().status == 202
    until(lambda: "began before the reload has ended" in server.log, "the last one has ended")
    refused(server.wire.request("PATCH", path, CONTENT[2_000_000:]))
    refused(server.wire.request("PUT", f"{path}?digest={sha256(CONTENT)}", CONTENT[2_000_000:]))
    assert held(server, path) == 2_000_000
    server.reload(WRITABLE)
    finish(server, path, CONTENT, 2_000_000)


def test_what_changed_takes_effect(served: Served, name: str) -> None:
    """Headers, deletion, pages and the form of the log, and the log names the keys alone."""
    server = served({"http": {"secret": "topsecret1"}})
    blob = f"/v2/{name}/blobs/{server.wire.push_blob(name, LAYER)}"
    for one in ("a", "b"):
        server.wire.push_manifest(f"{name}/{one}", "v1", manifest(server, f"{name}/{one}"), "")
    assert server.wire.expect(405, "DELETE", blob).headers["X-Frame-Options"] is None
    server.reload(
        {
            "http": {"headers": {"X-Frame-Options": ["DENY"]}, "secret": "topsecret2"},
            "storage": {"delete": {"enabled": True}},
            "catalog": {"maxentries": 1},
            "log": {"formatter": "json", "accesslog": {"disabled": True}},
        }
    )
    assert server.wire.expect(202, "DELETE", blob).header("X-Frame-Options") == "DENY"
    assert len(json.loads(server.wire.expect(200, "GET", "/v2/_catalog?n=9").body)) == 1
    lines = server.log.splitlines()
    (said,) = [line for line in lines if "configuration reloaded" in line]
    for key in ("http.headers", "http.secret", "storage.delete.enabled", "log.formatter"):
        assert key in json.loads(said)["msg"]
    assert "topsecret" not in server.log
    assert not [line for line in lines[lines.index(said) :] if "DELETE" in line]


def test_a_broken_file_changes_nothing(served: Served, name: str) -> None:
    """Each problem is an error in the log; who serves, goes on as before, and may ask again."""
    server = served(READ_ONLY)
    before = server.pids()
    broken = "storage: {maintenance: {readonly: {enabled: maybe}}}\nlog: {level: loud}\n"
    server.config_file.write_text(f"version: 0.1\n{broken}")
    server.hang_up()
    until(lambda: server.log.count("previous configuration stays in force") == 2, "both were said")
    said = [line for line in server.log.splitlines() if "stays in force" in line]
    assert all("level=error" in line for line in said)
    assert "line 2" in said[0]
    assert "maintenance" in said[0]
    assert "log.level" in said[1]
    server.config_file.unlink()
    server.hang_up()
    until(lambda: server.log.count("stays in force") == 3, "the missing file was said")
    until(lambda: server.pids() == before, "the child process that read has ended")
    refused(server.wire.request("POST", f"/v2/{name}/blobs/uploads/"))
    server.reload(WRITABLE)
    server.wire.push_blob(name, LAYER)


@pytest.mark.parametrize("workers", WAYS)
def test_what_needs_a_restart_is_said(tmp_path: Path, workers: int) -> None:
    """A warning for each such key; its old value stays, and the others take effect."""
    (tmp_path / "root").mkdir()
    http: dict[str, object] = {"addr": "127.0.0.1:0", "workers": workers}
    storage: dict[str, object] = {"filesystem": {"rootdirectory": str(tmp_path / "root")}}
    file = tmp_path / "config.yml"
    file.write_text(text_of({"http": http, "storage": storage}))
    with serving([str(file)], tmp_path) as server:
        port = int(server.where.rpartition(":")[2])
        storage = {
            "filesystem": {"rootdirectory": "/nowhere", "fsync": False},
            "maintenance": {"readonly": {"enabled": True}},
        }
        tls = {"certificate": "/nowhere/cert.pem", "key": "/nowhere/key.pem"}
        http = {"addr": "127.0.0.1:1", "net": "unix", "workers": 5, "tls": tls}
        file.write_text(text_of({"http": http, "storage": storage}))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "before the reload has ended" in server.said, "the reload was through")
        lines = [line for line in server.said.splitlines() if "needs a restart" in line]
        assert all("level=warning" in line for line in lines)
        fixed = ["addr", "net", "workers", "tls.certificate", "tls.key"]
        keys = [f"http.{key}" for key in fixed]
        keys += ["storage.filesystem.fsync", "storage.filesystem.rootdirectory"]
        assert sorted(line.split('msg="')[1].split()[0] for line in lines) == sorted(keys)
        with Connection.to(port) as connection:
            assert connection.ask("POST /v2/app/blobs/uploads/ HTTP/1.1").status == 405
        assert len(family(server.process.pid)) == (1 if workers == 1 else 3)


def test_two_signals_in_a_row(served: Served, name: str) -> None:
    """What the file said at the last of them holds in the end, and all workers agree."""
    server = served(WRITABLE)

    def all_answer(status: int) -> bool:
        uploads = f"/v2/{name}/blobs/uploads/"
        return all(server.wire.request("POST", uploads).status == status for _ in range(10))

    for settings in (READ_ONLY, WRITABLE, READ_ONLY):
        server.config_file.write_text(text_of(settings))
        server.hang_up()
    server.hang_up()
    until(lambda: all_answer(405), "it is read-only")
    server.config_file.write_text(text_of(WRITABLE))
    server.hang_up()
    until(lambda: all_answer(202), "it is read-only no more")


def test_a_hangup_during_the_drain_is_ignored(served: Served, name: str) -> None:
    """The upload is finished, the server ends, and does not read anything."""
    server = served(WRITABLE)
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 1_000_000) as upload:
        until(lambda: arrived(server, path), "the upload began")
        os.kill(server.pids()[0], signal.SIGTERM)
        until(lambda: "stopping after SIGTERM" in server.log, "it drains")
        server.hang_up()
        server.hang_up()
        upload.send(CONTENT[1_000_000:])
        assert upload.answer().status == 202
    server.stop()
    assert "configuration reloaded" not in server.log
    server.start()
    finish(server, path, CONTENT, len(CONTENT))


@pytest.mark.parametrize("workers", WAYS)
def test_a_hangup_while_it_starts_is_obeyed_later(tmp_path: Path, workers: int) -> None:
    """It does not end the server, and is not lost."""
    (tmp_path / "root").mkdir()
    options = ["--port", "0", "--root", str(tmp_path / "root"), "--workers", str(workers)]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, "serve", *options],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    try:
        until(lambda: "listening on" in log.read_text(), "it serves")
        process.send_signal(signal.SIGHUP)
        until(
            lambda: "configuration reloaded; changed: nothing" in log.read_text(), "it was obeyed"
        )
        assert process.poll() is None
        process.terminate()
        assert process.wait(20) == 0
    finally:
        kill_all(family(process.pid))
        process.wait(20)


@pytest.mark.parametrize("workers", WAYS)
def test_a_certificate_is_renewed(tmp_path: Path, workers: int) -> None:
    """New connections see the new one, old ones go on; one that can't be read is refused."""
    file, cert = tmp_path / "config.yml", certificate(tmp_path)
    tls = {"certificate": str(cert), "key": str(tmp_path / "key.pem")}
    http = {"addr": "127.0.0.1:0", "workers": workers, "tls": tls}
    storage = {"filesystem": {"rootdirectory": str(tmp_path)}}
    file.write_text(text_of({"http": http, "storage": storage}))
    with serving([str(file)], tmp_path) as server:
        port = int(server.where.rpartition(":")[2])
        first = shown(port, cert)
        with Connection.secure(port, ssl.create_default_context(cafile=cert)) as kept:
            assert kept.ask("GET /v2/ HTTP/1.1").status == 200
            certificate(tmp_path)
            server.process.send_signal(signal.SIGHUP)
            # While both generations of workers accept, either certificate may be shown.
            until(lambda: all(shown(port) != first for _ in range(20)), "the new one is shown")
            second = shown(port, cert)
            if workers == 1:
                assert kept.ask("GET /v2/ HTTP/1.1").status == 200
        cert.write_text("no certificate")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "stays in force: http.tls." in server.said, "it was refused")
        assert shown(port) == second


def shown(port: int, authority: Path | None = None) -> bytes:
    """Return the certificate a server shows; it must be what `authority` holds, if given."""
    context = ssl.create_default_context(cafile=authority)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Connection.secure(port, context) as connection:
        assert connection.ask("GET /v2/ HTTP/1.1").status == 200
        assert isinstance(connection.socket, ssl.SSLSocket)
        return connection.socket.getpeercert(binary_form=True) or b""


def test_a_root_that_has_gone_is_told_by_a_reload(served: Served, name: str) -> None:
    """A start may make a missing root; for a server that runs, a volume has been taken away."""
    server = served(WRITABLE)
    server.wire.push_manifest(name, "v1", manifest(server, name), OCI_MANIFEST)
    elsewhere = server.root.with_name("elsewhere")
    server.root.rename(elsewhere)
    server.hang_up()
    said = f"stays in force: the root directory {server.root} does not exist"
    until(lambda: said in server.log, "the log says why")
    assert not server.root.exists()
    elsewhere.rename(server.root)
    server.wire.expect(200, "GET", f"/v2/{name}/manifests/v1")
