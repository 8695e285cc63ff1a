"""GET load by `wrk`, which uses far less CPU than a load generator in Python."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import expect
from benchmarks.load import Load

PROGRAM = "wrk"
THREADS = 2
TIMEOUT_SECONDS = 30
FRAMING_SHARE = 1.05
HEAD_BYTES = 2048

REPORT = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nresult {"requests":%d,"bytes":%d,"microseconds":%d,"median":%d,"status":%d,"socket":%d}\\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class GetLoad:
    """A GET to repeat over several connections; `length` is the body's expected length."""

    port: int
    target: str
    length: int
    connections: int
    headers: Mapping[str, str]
    script: Path

    def run(self, seconds: int) -> Load:
        """Repeat the GET for `seconds`; raise `WrongAnswer` unless every response was right."""
        done = subprocess.run(
            self._command(seconds),
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds + 2 * TIMEOUT_SECONDS,
        )
        line = next(line for line in done.stdout.splitlines() if line.startswith("result "))
        result = {key: int(value) for key, value in json.loads(line[7:]).items()}
        self._check(result)
        return Load(result["requests"], result["microseconds"] / 1e6, result["median"] / 1e6)

    def _command(self, seconds: int) -> list[str]:
        headers = [part for pair in self.headers.items() for part in ("-H", ": ".join(pair))]
        sizes = [f"-t{min(THREADS, self.connections)}", f"-c{self.connections}", f"-d{seconds}s"]
        url = f"http://127.0.0.1:{self.port}{self.target}"
        script = ["-s", str(self.script)]
        return [PROGRAM, *sizes, f"--timeout={TIMEOUT_SECONDS}s", *script, *headers, url]

    def _check(self, result: Mapping[str, int]) -> None:
        """Check wrk's counts of statuses and socket errors, and the bytes read up to a head."""
        expect(result["requests"] > 0, f"GET {self.target} timed out")
        expect(result["status"] == 0, f"{result['status']} answers had a status of 400 or more")
        expect(result["socket"] == 0, f"{result['socket']} connections or answers failed")
        least = result["requests"] * self.length
        # At the end each connection may have been closed in the middle of one more response.
        most = (result["requests"] + self.connections) * (self.length * FRAMING_SHARE + HEAD_BYTES)
        expect(least <= result["bytes"] <= most, f"bodies were not {self.length} bytes long")
