"""Serves a configuration with both servers, and returns the facts of their responses."""

from __future__ import annotations

import base64
import json
import re
import shutil
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jwt

from tests.support.certificates import Authority
from tests.support.processes import free_port
from tests.support.secrets import keep, nothing_told
from tests.support.users import hashed
from tests.support.wire import DOCKER_MANIFEST, Wire
from tests.switch.cases import Case, Placeholders
from tests.switch.questions import CONFIG, HELD, LAYER, MANIFEST, QUESTIONS, Asking
from tests.switch.server_process import (
    ServerProcess,
    environment,
    on_readonly,
    ours,
    theirs,
)

AT_ONCE = 3
PASSWORD = keep("the pass-word of ann, 1")

Observed = dict[str, dict[str, str]]
"""Question to fact to text."""

_NAMES: Sequence[tuple[str, str]] = (
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"_state=[^&\s]+", "_state=STATE"),
    (r"sha256:[0-9a-f]{64}", "DIGEST"),
)

# The file of the image registry:2, for configurations that have only variables.
_IMAGE = """\
version: 0.1
log: {fields: {service: registry}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: <root>}
http:
  addr: :<port>
  headers: {X-Content-Type-Options: [nosniff]}
health:
  storagedriver: {enabled: true, interval: 10s, threshold: 3}
"""


@dataclass(frozen=True, slots=True)
class Kit:
    """Files, and a volume with an image of the original; each server gets a copy."""

    folder: Path

    @staticmethod
    def make(folder: Path) -> Kit:
        """Create certificates, users, and the volume."""
        folder.mkdir(parents=True)
        authority = Authority.make(folder, "authority")
        for name in ("certificate", "client"):
            pem = authority.issue(name).read_text()
            begin = pem.index("-----BEGIN PRIVATE KEY")
            (folder / f"{name}.pem").write_text(pem[:begin])
            (folder / f"{name}.key").write_text(pem[begin:])
        (folder / "users").write_text(f"ann:{hashed(PASSWORD)}\n")
        kit = Kit(folder)
        kit._write_volume()
        return kit

    @property
    def token(self) -> str:
        """Return a bearer token of the token server for all access."""
        chain = (self.folder / "certificate.pem").read_text()
        encoded = "".join(chain.splitlines()[1:-1])
        access = [
            {"type": "repository", "name": name, "actions": ["pull", "push", "delete"]}
            for name in (HELD, "new/app", "unknown/app")
        ]
        access.append({"type": "registry", "name": "catalog", "actions": ["*"]})
        claims = {
            "iss": "auth.example.com", "aud": "registry.example.com", "sub": "ann",
            "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 4_000_000_000,
            "jti": "1", "access": access,
        }  # fmt: skip
        key = (self.folder / "certificate.key").read_text()
        return jwt.encode(claims, key, algorithm="ES256", headers={"x5c": [encoded]})

    def shown(self, login: str) -> dict[str, str]:
        """Return the header with a client's credentials."""
        if login == "password":
            word = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
            return {"Authorization": f"Basic {word}"}
        return {"Authorization": f"Bearer {self.token}"} if login == "token" else {}

    def trust(self, tls: str) -> ssl.SSLContext | None:
        """Return a client's TLS settings, if the configuration has TLS."""
        if not tls:
            return None
        context = ssl.create_default_context(cafile=str(self.folder / "authority.pem"))
        context.check_hostname = False
        if tls == "client":
            context.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        return context

    def _write_volume(self) -> None:
        folder, port = self.folder / "writer", free_port()
        folder.mkdir()
        filled = Placeholders(folder, port, 0).fill(_IMAGE.replace(":<port>", "127.0.0.1:<port>"))
        (folder / "config.yml").write_text(filled)
        server = ServerProcess(
            [*theirs(), str(folder / "config.yml")], folder, environment({}), port
        )
        try:
            assert server.host() is not None, server.output
            wire = Wire("127.0.0.1", port)
            wire.push_blob(HELD, CONFIG)
            wire.push_blob(HELD, LAYER)
            wire.push_manifest(HELD, "v1", MANIFEST, DOCKER_MANIFEST)
        finally:
            server.stop()
            server.left_behind()
        shutil.move(folder / "root", self.folder / "volume")


def observe(kit: Kit, case: Case, folder: Path, command: list[str], mine: bool) -> Observed:
    """Serve a configuration with one of the two, and return all facts that are compared."""
    places = Placeholders(folder, free_port(), free_port())
    server = _start(kit, case, places, command, mine)
    try:
        observed = _asked(kit, case, places, server)
    finally:
        left = server.left_behind()
    assert not left, f"{folder}: left behind: {left}"
    if mine:
        assert "Traceback" not in server.output, f"{folder}: {server.output}"
        nothing_told(server.output, folder)
    return {
        question: {fact: _normal(text, places) for fact, text in each.items()}
        for question, each in observed.items()
    }


def _asked(kit: Kit, case: Case, places: Placeholders, server: ServerProcess) -> Observed:
    asking = _begin(kit, case, places, server)
    if asking is None:
        return {"start": {"outcome": f"refused, exit code {server.process.returncode}"}}
    observed: Observed = {"start": {"outcome": "serves"}}
    for name, question in QUESTIONS.items():
        observed[name] = dict(question(asking))
    observed["listening"] = {
        "addresses": _listening(server, places),
        "reached by": " ".join(server.hosts()),
    }
    observed["stop"] = {"exit code": str(server.stop())}
    observed["log"] = _log(server.output)
    return observed


def _begin(kit: Kit, case: Case, places: Placeholders, server: ServerProcess) -> Asking | None:
    """Wait for the server's first response; return None if it ends before."""
    while (host := server.host()) is not None:
        wire = Wire(
            host,
            places.port,
            tls=kit.trust(case.tls),
            unix=places.folder / "socket" if case.socket else None,
        )
        asking = Asking(wire, case.prefix, kit.shown(case.login))
        if asking.is_answered():
            return asking
        time.sleep(0.05)
    return None


def _listening(server: ServerProcess, places: Placeholders) -> str:
    found = (f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in server.addresses())
    return " ".join(sorted(_normal(each, places) for each in found))


def _start(
    kit: Kit, case: Case, places: Placeholders, command: list[str], mine: bool
) -> ServerProcess:
    folder = places.folder
    folder.mkdir(parents=True)
    _lay_out(kit, case, places)
    (folder / "config.yml").write_text(places.fill(case.config or _IMAGE))
    command = [*command, str(folder / "config.yml")]
    if case.readonly:
        command = on_readonly(folder / "root", command)
    variables = {name: places.fill(value) for name, value in case.environment.items()}
    if mine:
        # The responses are the same with one worker, and the start takes a third of the time.
        variables["REGISTRY_HTTP_WORKERS"] = "1"
    port = folder / "socket" if case.socket else places.port
    return ServerProcess(command, folder, environment(variables), port)


def _lay_out(kit: Kit, case: Case, places: Placeholders) -> None:
    if "root" not in case.missing:
        shutil.copytree(kit.folder / "volume", places.folder / "root")
    for name in ("users", "certificate.pem", "certificate.key", "authority.pem"):
        if name not in case.missing:
            shutil.copy(kit.folder / name, places.folder / name)
    user = (kit.folder / "users").read_text().strip()
    for name, text in case.files.items():
        (places.folder / name).write_text(places.fill(text).replace("<user>", user))


def _log(output: str) -> dict[str, str]:
    """Return what programs look for in a log: the address, and the form of the lines."""
    listening = re.search(r"listening on ([^\s\",]+)", output)
    lines = [line for line in output.splitlines() if line.strip()]
    forms = {_form(line) for line in lines}
    return {
        "listening on": listening[1] if listening else "",
        "forms": " ".join(sorted(forms)),
        "requests": "yes" if "/v2/_catalog" in output else "no",
    }


def _form(line: str) -> str:
    try:
        return "json" if isinstance(json.loads(line), dict) else "text"
    except ValueError:
        return "text"


def _normal(text: str, places: Placeholders) -> str:
    text = text.replace(str(places.folder), "FOLDER")
    for host in ("127.0.0.1", "[::1]", "localhost"):
        text = text.replace(f"://{host}:{places.port}", "://HOST")
    text = text.replace(f":{places.port}", ":PORT").replace(f":{places.debug}", ":DEBUG")
    for pattern, name in _NAMES:
        text = re.sub(pattern, name, text)
    return text


Both = tuple[Observed, Observed]


def observe_all(cases: Mapping[str, Case], folder: Path) -> dict[str, Both]:
    """Return the facts of the original and of this server, by configuration."""
    kit = Kit.make(folder / "kit")

    def both(name: str) -> Both:
        original = observe(kit, cases[name], folder / name / "theirs", theirs(), False)
        return original, observe(kit, cases[name], folder / name / "ours", ours(), True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(cases, pool.map(both, cases), strict=True))
