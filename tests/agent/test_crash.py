"""No line is lost when the agent is killed, whatever rotates the files and fails on the way."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.rig import Rig, arrived, check_all_arrived, check_order, order, write_config
from loopback.fixtures import Kinesis, wait_until

KILLS = int(os.environ.get("ODDLOT_KILLS", "4"))
NAMES = ("north.log", "south.log")
BY_SKU: dict[str, Any] = {"partitionKeyPattern": r"^\d+,(\w+)"}


@contextlib.contextmanager
def run_agent(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent as its own process; killed at the end."""
    with (path.parent / "said.txt").open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "oddlot", "agent", str(path)], stdout=said, stderr=said
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def wait_for_start(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until an agent holds its state folder."""
    lock = path.parent / "state" / "lock"
    wait_until(
        lambda: lock.exists() and f'"pid":{process.pid},' in lock.read_text(),
        "the agent does not start",
    )


class Writer:
    """Writes order lines to two logs, and rotates and packs them."""

    def __init__(self, folder: Path, chance: random.Random, least: int = 1) -> None:
        self.folder = folder
        self.chance = chance
        self.written = b""
        self.number = 0
        self.rotated = 0
        self.half: dict[Path, bytes] = {}
        self.least = least  # lines in a file that is rotated

    def write(self, count: int) -> None:
        """Append lines, now and then half a line first."""
        for _ in range(count):
            # A product's lines go to one file, so that they have an order.
            sku = self.chance.randrange(40)
            path = self.folder / NAMES[sku % 2]
            line = order(self.number, sku)
            self.number += 1
            self.written += line
            with path.open("ab") as file:
                file.write(self.half.pop(path, b""))
                if self.chance.random() < 0.05:
                    file.write(line[:9])
                    self.half[path] = line[9:]
                else:
                    file.write(line)

    def finish(self) -> None:
        for path, rest in self.half.items():
            with path.open("ab") as file:
                file.write(rest)
        self.half.clear()

    def rotate(self) -> None:
        """Rename and create; sometimes pack what was rotated before."""
        self.finish()
        self.rotated += 1
        path = self.folder / self.chance.choice(NAMES)
        if not path.exists() or path.read_bytes().count(b"\n") < self.least:
            return
        old = path.with_name(f"{path.name}.{self.rotated}")
        path.rename(old)
        path.touch()
        plain = [one for one in self.folder.iterdir() if one.suffix[1:].isdigit()]
        if len(plain) > 2:
            chosen = self.chance.choice(plain)
            packed = chosen.with_name(f"{chosen.name}.gz")
            packed.write_bytes(gzip.compress(chosen.read_bytes()))
            status = chosen.stat()  # as gzip does; what is older is read first
            os.utime(packed, ns=(status.st_mtime_ns, status.st_mtime_ns))
            chosen.unlink()


@pytest.mark.parametrize(
    "way",
    [
        pytest.param({}, id="none"),
        pytest.param({"aggregation": "ndjson"}, id="ndjson"),
        pytest.param({"aggregation": "kpl", **BY_SKU}, id="kpl-by_sku"),
    ],
)
def test_kills_rotations_and_faults_lose_no_line(
    kinesis: Kinesis, tmp_path: Path, way: dict[str, Any]
) -> None:
    chance = random.Random(11)
    stream = kinesis.stream(2)
    kinesis.faults.internal_failures = 0.05
    kinesis.faults.lost_replies = 0.05
    path = write_config(tmp_path, kinesis.url, stream, **way)
    # A file that ends after one line is read late, and then no order holds.
    writer = Writer(tmp_path / "logs", chance, least=2 if "partitionKeyPattern" in way else 1)
    for _ in range(KILLS):
        with run_agent(path) as process:
            # Killed at random: now and then while it starts, else while it reads, sends, saves.
            if chance.random() < 0.8:
                wait_for_start(path, process)
            end = time.monotonic() + chance.uniform(0.2, 2.5)
            while time.monotonic() < end:
                writer.write(chance.randrange(30))
                if chance.random() < 0.1:
                    writer.rotate()
                time.sleep(0.05)
    writer.finish()
    assert kinesis.counts["written"], "no agent lived long enough to send anything"
    with Rig(path) as rig:
        rig.step(10)
        rig.now_us += 61_000_000  # a file that ends after one line is read after a minute
        rig.step(10)
        rig.run_until(lambda: not rig.progress.flows[0].unread_bytes)
        rig.run_until(lambda: not rig.progress.flows[0].waiting_bytes)
    lines = arrived(kinesis, stream)
    repeated = check_all_arrived(lines, writer.written)
    assert repeated < len(lines), "a kill repeats what was not saved, not everything"
    if "partitionKeyPattern" in way:
        check_order(lines)


def test_a_kill_repeats_only_what_came_after_the_last_saved_position(
    kinesis: Kinesis, tmp_path: Path
) -> None:
    stream = kinesis.stream(1)
    path = write_config(tmp_path, kinesis.url, stream)
    writer = Writer(tmp_path / "logs", random.Random(3))
    with Rig(path) as rig:
        writer.write(300)
        writer.finish()
        rig.ship(300)
        writer.write(200)
        writer.finish()
        rig.run_until(lambda: rig.counts["sent_lines"] >= 400)
        # As a kill would: no drain, no last save.
        rig.agent._checkpoints._rows.clear()
        for carrier in rig.agent._carriers:
            carrier.follower._touched.clear()
            carrier.follower._new.clear()
    with Rig(path) as rig:
        rig.ship(1)
        rig.run_until(lambda: not rig.progress.flows[0].waiting_bytes)
    assert check_all_arrived(arrived(kinesis, stream), writer.written) <= 200


def test_ctrl_c_sends_what_was_read_and_the_next_start_repeats_nothing(
    kinesis: Kinesis, tmp_path: Path
) -> None:
    stream = kinesis.stream(1)
    path = write_config(tmp_path, kinesis.url, stream, maxBufferAgeMillis=60_000)
    writer = Writer(tmp_path / "logs", random.Random(5))
    for _ in range(2):
        writer.write(40)
        writer.finish()
        with run_agent(path) as process:
            wait_for_start(path, process)
            time.sleep(1.0)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
    assert check_all_arrived(arrived(kinesis, stream), writer.written) == 0
