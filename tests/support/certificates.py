"""Certificates for servers that tests start."""

from __future__ import annotations

from pathlib import Path

from tests.support.tools import require_tool, run


def certificate(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1 that signs itself; its key lies beside it."""
    made = folder / "cert.pem"
    run(
        [require_tool("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2",
         "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"),
         "-out", str(made)]
    )  # fmt: skip
    return made
