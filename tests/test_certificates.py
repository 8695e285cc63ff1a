"""The files of a certificate while they are renewed: used when all are there, and no sooner."""

from __future__ import annotations

import logging
import os
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry_server.config.schema import Tls
from registry_server.config.validation import validated
from registry_server.serving.tls.certificates import Certificates, NewContext
from tests.support.certificates import Authority, certificate


@dataclass(frozen=True, slots=True)
class Files:
    """What a server is configured with, and what it makes of it."""

    folder: Path
    certificates: Certificates

    def replace(self, *names: str) -> None:
        """Put files from the next renewal in place of those that are there, as editors do."""
        for name in names:
            os.replace(self.folder / "next" / name, self.folder / name)

    def looks(self, number: int) -> list[NewContext]:
        """Look so many times; return what came of it."""
        found = [self.certificates.changed() for _ in range(number)]
        return [each for each in found if each is not None]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Give the files of a certificate that is in use, and the next one's beside them."""
    next_one = tmp_path / "next"
    next_one.mkdir()
    for folder in (tmp_path, next_one):
        certificate(folder)
        Authority.make(folder, "ca")
    settings = validated(
        Tls,
        {
            "certificate": str(tmp_path / "cert.pem"),
            "key": str(tmp_path / "key.pem"),
            "clientcas": [str(tmp_path / "ca.pem")],
        },
    )
    made = Certificates(settings)
    made.first()
    return Files(tmp_path, made)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the errors that were logged."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


def test_what_stays_is_not_read(files: Files) -> None:
    """Checking files that do not change has no effect."""
    assert files.looks(3) == []


def test_what_changed_is_used_once_it_stays(files: Files) -> None:
    """At the second check, and then no more; clients that proved something before may continue."""
    files.replace("cert.pem", "key.pem")
    assert files.looks(1) == []
    (renewal,) = files.looks(3)
    assert renewal.are_authorities_unchanged


def test_other_authorities_are_told_from_other_certificates(files: Files) -> None:
    """Then what clients proved before holds no longer."""
    files.replace("ca.pem")
    (renewal,) = files.looks(3)
    assert not renewal.are_authorities_unchanged


def test_a_certificate_whose_key_is_late(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """It is not used, which is said once; with the key it is."""
    files.replace("cert.pem")
    assert files.looks(5) == []
    (said,) = complaints(caplog)
    assert said.startswith("TLS files can't be used, the old ones stay in use: http.tls.key: ")
    files.replace("key.pem")
    assert len(files.looks(5)) == 1
    assert len(complaints(caplog)) == 1


def test_a_renewal_seen_half_done_is_no_complaint(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """A look that falls between the certificate and its key waits for the next."""
    files.replace("cert.pem")
    assert files.looks(1) == []
    files.replace("key.pem")
    assert len(files.looks(5)) == 1
    assert not complaints(caplog)


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "ca.pem"])
def test_a_file_that_went_and_came_back(
    files: Files, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """While it is away, what it said stays in force; no client CA less is a client more."""
    shutil.move(files.folder / name, files.folder / "away")
    assert files.looks(5) == []
    (complaint,) = complaints(caplog)
    assert complaint.startswith("TLS files can't be used, the old ones stay in use: http.tls.")
    assert f"{files.folder / name} does not exist; " in complaint
    shutil.copy(files.folder / "away", files.folder / name)
    assert len(files.looks(5)) == 1


def test_what_failed_without_being_touched_is_tried_again(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """A lack of descriptors, for example, loses no renewal."""
    files.replace("cert.pem", "key.pem")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    files.looks(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert files.looks(3) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(complaints(caplog)) == 1
    assert len(files.looks(3)) == 1
