"""Push with python-dxf."""

import sys
from pathlib import Path

from dxf import DXF

address, repository, folder = sys.argv[1:]
files = Path(folder)
with DXF(address, repository, insecure=True) as client:
    for name in ("layer", "config"):
        client.push_blob(str(files / name))
    client.set_manifest("v1", (files / "manifest").read_text())
