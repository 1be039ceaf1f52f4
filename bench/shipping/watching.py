"""Starts a shipper and an endpoint, and watches both: time, processor, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).parent
_QUIET_SECONDS = 4.0  # longer than a record may wait for company
_TICK = os.sysconf("SC_CLK_TCK")


class Used(NamedTuple):
    """What a process has used so far."""

    cpu_seconds: float
    rss_mb: float
    peak_mb: float


class Endpoint(NamedTuple):
    """The endpoint that keeps nothing."""

    url: str

    def told(self) -> dict[str, Any]:
        """Ask what came."""
        with urllib.request.urlopen(self.url) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
        return found


@contextmanager
def endpoint(*modes: str) -> Iterator[Endpoint]:
    """Run the endpoint in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(_HERE / "endpoint.py"), *modes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield Endpoint(process.stdout.readline().strip())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


@contextmanager
def agent(folder: Path, url: str, file: Path, **flow: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run `oddlot agent` over one file."""
    folder.mkdir(parents=True)
    options = {
        "kinesis.endpoint": url,
        "kinesis.region": "us-east-1",
        "log.statusReportingPeriodSeconds": 0,
        "flows": [
            {
                "filePattern": str(file),
                "kinesisStream": "orders",
                "initialPosition": "START_OF_FILE",
                "maxBufferAgeMillis": 1000,
                "skipHeaderLines": 1,
                **flow,
            }
        ],
    }
    (folder / "agent.json").write_text(json.dumps(options), "utf-8")
    process = subprocess.Popen([sys.executable, "-m", "oddlot", "agent", "agent.json"], cwd=folder)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def used(process: subprocess.Popen[bytes]) -> Used:
    """Look at a process that runs, on Linux."""
    fields = Path(f"/proc/{process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    status = Path(f"/proc/{process.pid}/status").read_text("ascii", "replace")
    sizes = {
        line.split()[0]: int(line.split()[1]) / 1024
        for line in status.splitlines()
        if line.startswith(("VmRSS", "VmHWM"))
    }
    return Used((int(fields[11]) + int(fields[12])) / _TICK, sizes["VmRSS:"], sizes["VmHWM:"])


def watch(
    process: subprocess.Popen[bytes], to: Endpoint, every: float = 1.0
) -> tuple[dict[str, Any], Used, list[tuple[int, float]]]:
    """Wait until nothing comes any more; return what came, what was used, lines and RSS by time."""
    before, since = -1, time.monotonic()
    history: list[tuple[int, float]] = []
    last = Used(0.0, 0.0, 0.0)
    while time.monotonic() - since < _QUIET_SECONDS or before <= 0:
        time.sleep(every)
        came = to.told()
        if process.poll() is None:
            last = used(process)
        elif came["bytes"] == before:
            break  # a rival ends by itself
        history.append((came["lines"], last.rss_mb))
        if came["bytes"] != before:
            before, since = came["bytes"], time.monotonic()
    return to.told(), last, history
