"""Each mistake is one line with the place, the key and the problem."""

from pathlib import Path

import pytest

from registry_server.config import ConfigError, Overrides
from registry_server.config.load import load
from tests.config.conftest import Read, Refuse


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("storge: {}", "storge is not a known key: did you mean storage?"),
        (
            "storage: {filesytem: {}}",
            "storage.filesytem is not a known key: did you mean storage.filesystem?",
        ),
        ("http: {TLS: {}}", "http.TLS is not a known key: did you mean http.tls?"),
        ("auth: {none: {x: y}}", "auth.none.x is not a known key: none is known under auth.none"),
        (r'auth: {"a\nb": 1}', r"auth.'a\nb' is not a known key"),
        ("auth: {? " + "x" * 500 + " : 1}", "x... is not a known key"),
        ("auth: {'': 1}", "auth.'' is not a known key"),
        ("log: {level: verbose}", "log.level must be error, warn, info or debug"),
        ("log: {formatter: xml}", "log.formatter must be text, json or logstash"),
        ("log: []", "log must be a mapping"),
        ("log: text", "log must be a mapping"),
        ("log: {fields: x}", "log.fields must be a mapping"),
        ("log: {accesslog: {disabled: maybe}}", "log.accesslog.disabled must be true or false"),
        ("storage: {filesystem: {maxthreads: many}}", "maxthreads must be a whole number"),
        ("storage: {filesystem: {rootdirectory: ''}}", "rootdirectory must not be empty"),
        ("storage: {filesystem: {rootdirectory: []}}", "rootdirectory must be a path"),
        (r'storage: {filesystem: {rootdirectory: "a\0"}}', "must not contain NUL"),
        ("http: {addr: '5000'}", "http.addr must be host:port or :port"),
        ("http: {net: unix}", "http.addr must be the path of a socket"),
        ("http: {net: udp}", "http.net must be tcp or unix"),
        ("http: {prefix: 'a?b'}", "http.prefix must be a URL path"),
        ("http: {draintimeout: soon}", "http.draintimeout must be a duration, such as 30s"),
        ("http: {draintimeout: [1s]}", "http.draintimeout must be a duration"),
        ("http: {workers: 0}", "http.workers must be at least 1"),
        ("http: {workers: " + "9" * 5000 + "}", "http.workers must be a "),
        ("http: {headers: {X-A: nosniff}}", "http.headers.X-A must be a list"),
        ("http: {trustedproxies: [proxy]}", "http.trustedproxies[0] must be an IP address"),
        ("http: {tls: {clientcas: [~]}}", "http.tls.clientcas[0] must be a path"),
        ("http: {tls: {minimumtls: ssl3}}", "http.tls.minimumtls must be tls1.0, tls1.1,"),
        ("http: {tls: {key: /k}}", "http.tls.key needs http.tls.certificate too"),
        ("http: {tls: {certificate: /c}}", "http.tls.certificate needs http.tls.key too"),
        ("http: {tls: {clientcas: [/a]}}", "http.tls.clientcas needs http.tls.certificate and"),
        (
            "http: {tls: {certificate: /c, key: /k, clientcas: [/a], "
            "clientauth: require-any-client-cert}}",
            "http.tls.clientauth cannot be require-any-client-cert",
        ),
        ("storage: {maintenance: {uploadpurging: {age: 604800}}}", "age needs a unit"),
        ("validation: {manifests: {urls: {allow: ['(']}}}", "allow[0] must be a regular"),
        (
            "validation: {manifests: {urls: {deny: ['(?!a)']}}}",
            "deny[0] must be a regular expression in Go's syntax: invalid perl operator",
        ),
        ("storage: {filesystem: {}, s3: {}}", "storage has filesystem and s3: exactly one"),
        ("auth: {none: {}, silly: {}}", "auth has none and silly: exactly one"),
    ],
)
def test_each_mistake_names_its_line_its_key_and_the_problem(
    refuse: Refuse, text: str, problem: str
) -> None:
    """The message begins with the file and the line."""
    problems = refuse(f"version: 0.1\n# a line\n{text}\n")
    assert len(problems) == 1
    assert problems[0].startswith("config.yml, line 3: ")
    assert problem in problems[0]
    assert "\n" not in problems[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "config.yml: version is missing"),
        ("# nothing\n", "config.yml: version is missing"),
        ("http: {addr: ':1'}\n", "config.yml: version is missing"),
        ("version:\n", "config.yml: version is missing"),
        ("version: 0.2\n", "config.yml, line 1: version must be 0.1"),
        ("- a\n", "config.yml, line 1: must be a mapping of keys"),
        ("text\n", "config.yml, line 1: must be a mapping of keys"),
        (
            "version: 0.1\nhttp: [\n",
            "line 3, column 1: is not YAML: a value is missing",
        ),
        (
            "version: 0.1\n\tx: 1\n",
            "line 2, column 1: is not YAML: a tab cannot indent",
        ),
        ("a: &a {b: *a}\n", "config.yml, line 1: the file is nested too deeply, or refers to"),
        ("a: &a {<<: *a}\n", "config.yml, line 1: the file is nested too deeply, or refers to"),
        ("a: {<<: [b]}\n", "config.yml, line 1: << must refer to a mapping"),
        ("? [a]\n: b\n", "config.yml, line 1: a key must be plain text"),
        ("[" * 5000, "config.yml, line 1: is nested too deeply"),
        ('a: "\\ud800"\n', "config.yml, line 1: a text contains half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"\n', "config.yml, line 1: is not YAML"),
        ("a: \x07\n", "config.yml, line 1, column 4: is not YAML: contains a character"),
        ("version: 0.1\na: b\nc\n", "line 4, column 1: is not YAML: a line without 'key: value'"),
        ("a: " + "x" * (1 << 20), "config.yml: is larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(
    refuse: Refuse, text: str, problem: str
) -> None:
    """Whatever the file contains, the error is one line."""
    problems = refuse(text)
    assert any(problem in each for each in problems), problems


def test_an_alias_bomb_is_refused(refuse: Refuse) -> None:
    """A small file that would expand to billions of items is refused before it does."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (problem,) = refuse("\n".join(lines))
    assert "nested too deeply, or refers to itself" in problem


def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    """A missing file, a folder, and an impossible path."""
    cases = {
        tmp_path / "missing.yml": "cannot be read: No such file or directory",
        tmp_path: "cannot be read: Is a directory",
        Path("a\0b"): "contains a NUL character",
    }
    for path, problem in cases.items():
        with pytest.raises(ConfigError, match=problem) as caught:
            load(path, {})
        assert len(caught.value.problems) == 1


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    """The message has the line of the first invalid byte."""
    path = tmp_path / "config.yml"
    path.write_bytes(b"version: 0.1\nhttp:\n  host: \xff\n")
    with pytest.raises(ConfigError, match=r"config\.yml, line 3: is not UTF-8 text"):
        load(path, {})


def test_all_mistakes_are_reported_in_the_order_of_the_file(refuse: Refuse) -> None:
    """One start shows every mistake."""
    text = "version: 0.1\nauht: 1\nhttp:\n  workers: 0\n  net: x\nlog: {level: x}\n"
    problems = refuse(text)
    assert [problem.split(": ")[0] for problem in problems] == [
        "config.yml, line 2",
        "config.yml, line 4",
        "config.yml, line 5",
        "config.yml, line 6",
    ]


def test_str_of_the_error_is_its_problems_line_by_line() -> None:
    """Printing the error prints all problems."""
    assert str(ConfigError(["one", "two"])) == "one\ntwo"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (Overrides(workers=0), "--workers: http.workers must be at least 1"),
        (Overrides(port=70000), "--port: http.addr needs a port from 0 to 65535"),
        (Overrides(host="a b"), "--host: http.addr has a host that is neither"),
        (Overrides(host="a b", port=1), "--host and --port: http.addr has a host"),
    ],
)
def test_a_wrong_option_is_named(refuse: Refuse, overrides: Overrides, problem: str) -> None:
    """A mistake on the command line is not reported as one of the file."""
    assert refuse("version: 0.1\n", {}, overrides)[0].startswith(problem)


def test_an_option_does_not_hide_a_mistake_in_the_file(refuse: Refuse) -> None:
    """--port needs the host of a valid address; --root needs a valid section."""
    (problem,) = refuse("version: 0.1\nhttp: {addr: x}\n", {}, Overrides(port=1))
    assert problem.startswith("config.yml, line 2: http.addr must be host:port")
    (problem,) = refuse("version: 0.1\nstorage: []\n", {}, Overrides(root=Path("/x")))
    assert problem == "config.yml, line 2: storage must be a mapping"


def test_a_drain_in_bare_nanoseconds_is_a_warning(read: Read) -> None:
    """As in Go, 60 is 60 nanoseconds, which is hardly intended."""
    loaded = read("version: 0.1\nhttp:\n  draintimeout: 60\n")
    (warning,) = loaded.warnings
    assert "line 3: http.draintimeout has no unit and counts nanoseconds" in warning
    assert loaded.settings.http.draintimeout.total_seconds() == 0
