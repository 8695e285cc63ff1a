"""`registry-server delete`: a whole repository is removed while the server serves."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
import typer

from registry_server.commands.arguments import read_arguments
from tests.live.programs import run
from tests.live.transfers import begin
from tests.support.documents import config_for, image_manifest
from tests.support.servers import RegistryServer
from tests.support.tree import LAYOUT
from tests.support.wire import OCI_MANIFEST, sha256, with_query

pytestmark = pytest.mark.live

LAYERS = [b"a layer", b"another layer"]
CONFIG = config_for(LAYERS)
MANIFEST = image_manifest(CONFIG, LAYERS)
DIGEST = sha256(MANIFEST)
# Requests enough to reach each worker.
OFTEN = 12
HINT = "the next garbage-collect frees the space that no other repository needs"
COUNTS = "1 manifests, 2 tags, 3 blob links and 1 uploads"


def push(server: RegistryServer, name: str, *tags: str) -> None:
    """Push an image with some tags."""
    for blob in (*LAYERS, CONFIG):
        server.wire.push_blob(name, blob)
    for tag in tags:
        server.wire.push_manifest(name, tag, MANIFEST, OCI_MANIFEST)


def ask(server: RegistryServer, name: str) -> set[tuple[int, str]]:
    """Request everything in a repository from each worker; return the answers."""
    paths = ["tags/list", "manifests/v1", "manifests/v2", f"manifests/{DIGEST}"]
    paths += [f"blobs/{sha256(blob)}" for blob in (*LAYERS, CONFIG)]
    answers = set()
    for path in paths * OFTEN:
        answer = server.wire.request("GET", f"/v2/{name}/{path}")
        code = "" if answer.status == 200 else json.loads(answer.body)["errors"][0]["code"]
        answers.add((answer.status, code))
    return answers


GONE = {(404, "NAME_UNKNOWN"), (404, "MANIFEST_UNKNOWN"), (404, "BLOB_UNKNOWN")}


def catalog(server: RegistryServer) -> list[str]:
    """Return the names of all repositories; each worker must return the same."""
    answers = [server.wire.expect(200, "GET", "/v2/_catalog?n=1000").body for _ in range(OFTEN)]
    assert len(set(answers)) == 1
    names: list[str] = json.loads(answers[0])["repositories"]
    return names


def delete(server: RegistryServer, *arguments: str) -> tuple[int, list[str], list[str]]:
    """Run the command over a server's root; return its exit code and output."""
    done = run(["delete", "--root", str(server.root), *arguments], server.folder)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def test_no_worker_serves_cached_content_of_a_removed_repository(
    shared: RegistryServer, name: str
) -> None:
    """After the command or `rm`, no tag, manifest, blob or catalog entry is found."""
    for by_hand in (False, True):
        push(shared, name, "v1", "v2")
        push(shared, f"{name}/below", "v1", "v2")
        begin(shared, name)
        assert ask(shared, name) == {(200, "")}
        assert name in catalog(shared)
        if by_hand:
            folder = shared.root / LAYOUT / "repositories" / name
            for part in folder.glob("_*"):
                shutil.rmtree(part)
        else:
            assert delete(shared, name) == (0, [f"{name}: {COUNTS} removed", HINT], [])
        assert ask(shared, name) == GONE
        assert name not in catalog(shared)
        assert ask(shared, f"{name}/below") == {(200, "")}
        assert f"{name}/below" in catalog(shared)


def test_uploads_in_progress_are_removed_too(shared: RegistryServer, name: str) -> None:
    """Continuing one fails; a new push to the repository is served."""
    push(shared, name, "v1", "v2")
    upload = begin(shared, name)
    shared.wire.expect(202, "PATCH", upload, b"some bytes")
    assert delete(shared, name)[0] == 0
    for method in ("GET", "PATCH", "DELETE"):
        shared.wire.expect(404, method, upload)
    push(shared, name, "v1", "v2")
    assert ask(shared, name) == {(200, "")}


def test_a_dry_run_removes_nothing(shared: RegistryServer, name: str) -> None:
    """It prints what would be removed."""
    push(shared, name, "v1", "v2")
    begin(shared, name)
    assert delete(shared, name, "--dry-run") == (0, [f"{name}: {COUNTS} would be removed"], [])
    assert ask(shared, name) == {(200, "")}


def test_an_unknown_name_is_an_error_and_the_others_are_removed(
    shared: RegistryServer, name: str
) -> None:
    """A line for it, and exit code 1."""
    push(shared, name, "v1")
    push(shared, f"{name}-too", "v1")
    unknown = "registry-server: repository not/here is not known to this registry"
    code, said, complaints = delete(shared, name, "not/here", f"{name}-too")
    assert (code, len(said), complaints) == (1, 3, [unknown])
    assert not {name, f"{name}-too"} & set(catalog(shared))
    assert delete(shared, name)[0] == 1
    assert delete(shared, "not/here", "--dry-run") == (1, [], [unknown])


def configured(folder: Path, storage: str) -> str:
    """Write a configuration; return its file name."""
    text = f"version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {folder}/root}}\n{storage}"
    (folder / "root").mkdir(exist_ok=True)
    (folder / "config.yml").write_text(text)
    return "config.yml"


def repository(folder: Path, name: str) -> Path:
    """Create the folder of a repository with a tag."""
    made = folder / "root" / LAYOUT / "repositories" / name
    current = made / "_manifests/tags/v1/current"
    current.mkdir(parents=True)
    (current / "link").write_text(DIGEST)
    return made


def test_disabled_deletion_names_the_remedy(tmp_path: Path) -> None:
    """`storage.delete.enabled` is false by default: exit code 2; a variable overrides it."""
    made = repository(tmp_path, "app")
    config = configured(tmp_path, "")
    for more in ([], ["--dry-run"]):
        done = run(["delete", config, "app", *more], tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "storage.delete.enabled" in done.stderr
        assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert made.is_dir()
    done = run(["delete", config, "app"], tmp_path, {"REGISTRY_STORAGE_DELETE_ENABLED": "true"})
    assert (done.returncode, done.stderr) == (0, "")
    assert not made.exists()


def test_read_only_mode_refuses_deletion(tmp_path: Path) -> None:
    """Exit code 2, and one line that names the key."""
    made = repository(tmp_path, "app")
    more = "  delete: {enabled: true}\n  maintenance: {readonly: {enabled: true}}\n"
    done = run(["delete", configured(tmp_path, more), "app"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "storage.maintenance.readonly.enabled" in done.stderr
    assert made.is_dir()


@pytest.mark.parametrize(
    ("words", "option", "config", "names"),
    [
        (["config.yml", "app"], None, "config.yml", ["app"]),
        (["config.yaml", "a/b", "app"], None, "config.yaml", ["a/b", "app"]),
        (["/etc/registry.conf", "app"], None, "/etc/registry.conf", ["app"]),
        (["./registry", "app", "app"], None, "registry", ["app"]),
        (["app", "app.yml"], None, None, ["app", "app.yml"]),
        (["app.yml", "app"], "registry.conf", "registry.conf", ["app.yml", "app"]),
        (["config.yml"], None, "config.yml", []),
        (["etc/registry.conf", "app"], None, None, ["etc/registry.conf", "app"]),
        ([], None, None, []),
    ],
)
def test_what_is_a_configuration_and_what_a_name(
    words: list[str], option: str | None, config: str | None, names: list[str]
) -> None:
    """A first argument that looks like a file is the configuration, even if it is missing."""
    found = read_arguments(words, None if option is None else Path(option))
    assert found.config == (None if config is None else Path(config))
    assert [name.text for name in found.names] == names


@pytest.mark.parametrize("words", [["App"], ["app", "/etc/config.yml"], ["config.yml", "a//b"]])
def test_an_invalid_argument_ends_the_program(words: list[str]) -> None:
    """With the exit code of an invalid command line."""
    with pytest.raises(typer.Exit) as ended:
        read_arguments(words, None)
    assert ended.value.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["app", "--config=config.yml"], 0),
        (["--root", "root", "app"], 0),
        (["config.yml"], 2),
        (["confg.yml", "app"], 2),
        (["app"], 2),  # over ./data, which is missing
    ],
)
def test_an_invalid_command_line_removes_nothing(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    """Exit code 2 and a line on stderr; a valid one removes what it names."""
    made = repository(tmp_path, "app")
    configured(tmp_path, "  delete: {enabled: true}\n")
    done = run(["delete", *arguments], tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1 if code else 0)
    assert made.is_dir() == (code == 2)


def test_beside_pushes_what_is_left_can_be_pulled(shared: RegistryServer, name: str) -> None:
    """Every remaining tag points to a manifest with all its layers."""
    done = threading.Event()
    pushed = 0

    def pushing(number: int) -> None:
        nonlocal pushed
        while not done.is_set():
            for blob in (*LAYERS, CONFIG):
                target = with_query(begin(shared, name), f"digest={sha256(blob)}")
                answer = shared.wire.request("PUT", target, blob)
                assert answer.status in {201, 404}, answer.body
            target = f"/v2/{name}/manifests/t{number}"
            answer = shared.wire.request("PUT", target, MANIFEST, {"Content-Type": OCI_MANIFEST})
            assert answer.status in {201, 400}, answer.body
            pushed += answer.status == 201

    threads = [threading.Thread(target=pushing, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    codes = [delete(shared, name)[0] for _ in range(4)]
    done.set()
    for thread in threads:
        thread.join()
    assert set(codes) <= {0, 1}
    assert 0 in codes
    assert pushed
    answer = shared.wire.request("GET", f"/v2/{name}/tags/list")
    tags = json.loads(answer.body)["tags"] if answer.status == 200 else []
    for tag in tags:
        assert shared.wire.expect(200, "GET", f"/v2/{name}/manifests/{tag}").body == MANIFEST
    for blob in (*LAYERS, CONFIG) if tags else ():
        assert shared.wire.expect(200, "GET", f"/v2/{name}/blobs/{sha256(blob)}").body == blob
