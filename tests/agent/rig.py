"""An agent on a clock of the test's, and what arrived at the far end."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from loopback.fixtures import Kinesis
from oddlot.agent.config import load
from oddlot.agent.run import Agent, Progress
from oddlot.streams import kpl

_GIVE_UP_SECONDS = 60


def write_config(
    folder: Path, url: str, stream: str, *, options: dict[str, Any] | None = None, **flow: Any
) -> Path:
    """Write an agent.json for the files in folder/logs."""
    (folder / "logs").mkdir(exist_ok=True)
    whole = {
        "kinesis.endpoint": url,
        "maxSendingThreads": 2,
        "stateDirectory": str(folder / "state"),
        **(options or {}),
        "flows": [
            {
                "filePattern": str(folder / "logs" / "*.log*"),
                "kinesisStream": stream,
                "initialPosition": "START_OF_FILE",
                "maxBufferAgeMillis": 1000,
                "retryMaxBackoffMillis": 500,
                **flow,
            }
        ],
    }
    path = folder / "agent.json"
    path.write_text(json.dumps(whole))
    return path


class Rig:
    """Runs an agent step by step; the clock goes on by 20 ms a step.

    Args:
        path: of agent.json.
    """

    def __init__(self, path: Path, now_us: int = 0) -> None:
        self.now_us = now_us
        self.agent = Agent(
            load(path),
            clock_us=lambda: self.now_us,
            wall_us=lambda: 1_300_000_000_000_000 + self.now_us,
            chance=random.Random(7),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.close()

    @property
    def progress(self) -> Progress:
        return self.agent.progress()

    @property
    def counts(self) -> dict[str, int]:
        return self.progress.flows[0].counts

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.agent.step()
            self.now_us += 20_000

    def run_until(self, is_so: Callable[[], bool], otherwise: str = "") -> None:
        """Go on until something holds; the servers answer in their own time."""
        last = time.monotonic() + _GIVE_UP_SECONDS
        while not is_so():
            assert time.monotonic() < last, otherwise or str(self.progress)
            self.step()
            time.sleep(0.001)  # the threads that send need a turn

    def ship(self, lines: int) -> None:
        """Go on until so many lines were shipped and saved."""
        self.run_until(
            lambda: self.counts["sent_lines"] >= lines and not self.progress.flows[0].waiting_bytes
        )
        self.step(12)  # the positions are saved every 200 ms


def order(number: int, sku: int | None = None) -> bytes:
    """Return an order line with a running number that is larger for every later line."""
    product = number * 7919 % 40 if sku is None else sku
    return b"%d,%05dA,6,2010-12-01 08:26\n" % (number, product)


def orders(first: int, count: int) -> bytes:
    return b"".join(map(order, range(first, first + count)))


def number_of(line: bytes) -> int:
    return int(line.partition(b",")[0])


def sku_of(line: bytes) -> bytes:
    return line.split(b",")[1]


def arrived(kinesis: Kinesis, stream: str) -> list[bytes]:
    """Return every line at the far end, without line end, shard after shard, unpacked."""
    lines: list[bytes] = []
    for record in kinesis.records(stream):
        inside = kpl.unpack(record["Data"])
        for data in [record["Data"]] if inside is None else [data for _, data in inside]:
            lines += data.split(b"\n")[:-1] if data.endswith(b"\n") else [data]
    return lines


def check_all_arrived(lines: Iterable[bytes], expected: bytes) -> int:
    """Check that every line arrived; returns how many arrived once too often."""
    got = Counter(lines)
    want = Counter(expected.split(b"\n")[:-1])
    missing = want.keys() - got.keys()
    assert not missing, f"{len(missing)} of {len(want)} lines are missing: {sorted(missing)[:5]}"
    assert not got.keys() - want.keys(), sorted(got.keys() - want.keys())[:5]
    return got.total() - want.total()


def check_order(lines: Iterable[bytes], key: Callable[[bytes], bytes] = sku_of) -> None:
    """Check that of the lines with one key each arrived first after those before it."""
    newest: dict[bytes, int] = {}
    seen: set[bytes] = set()
    for line in lines:
        if line not in seen:
            seen.add(line)
            assert newest.get(key(line), -1) < number_of(line), line
            newest[key(line)] = number_of(line)
