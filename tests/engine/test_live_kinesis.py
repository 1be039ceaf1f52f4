"""The engine on a Kinesis stream: killed, throttled and resharded, its alerts are the file's."""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from crashes import folder_in_memory
from loopback.fixtures import Kinesis
from oddlot import config
from oddlot.alerts.make import alert_row
from oddlot.described import describe
from oddlot.engine.embedded import Engine, Outcome
from oddlot.simulate import Shop, simulate
from oddlot.store import Store
from oddlot.streams.kpl import pack

KILLS = int(os.environ.get("ODDLOT_KILLS", "4"))
NOW_US = 1_800_000_000_000_000
SCRIPT = Path(__file__).with_name("watched_stream.py")
DETECT = """
source.dates = "iso"
budget.false_alerts_per_day = 200
"""
TOML = """
budget.false_alerts_per_day = 200
time.idle = "off"
state.checkpoint_every = "300ms"
archive.path = "archive"
[source]
type = "kinesis"
stream = "{stream}"
endpoint = "{url}"
region = "us-east-1"
dates = "iso"
hold = "off"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


@cache
def lines() -> list[tuple[str, bytes]]:
    """Return partition key and JSON of each order line, in event-time order."""
    orders, _ = simulate(Shop(days=20, skus=60, lines_per_day=200, seed=3))
    rows = csv.DictReader(b"".join(orders.text()).decode().splitlines())
    return [(row["StockCode"], json.dumps(row).encode() + b"\n") for row in rows]


def placeless(alert: Any) -> str:
    row = alert_row(alert)
    return json.dumps({k: v for k, v in row.items() if k not in ("source", "position", "number")})


@cache
def whole() -> list[str]:
    """Return the alerts of the lines as one file."""
    engine = Engine(config.from_text(DETECT, "a test"))
    told: list[str] = []

    def keep(outcome: Outcome) -> None:
        told.extend(placeless(alert) for alert in outcome.alerts)

    for outcome in engine.feed("orders", b"".join(line for _, line in lines()), True, NOW_US):
        keep(outcome)
    keep(engine.finish())
    return sorted(told)


class Producer:
    """Puts the lines so that each shard has them in order."""

    def __init__(self, kinesis: Kinesis, stream: str) -> None:
        self.kinesis = kinesis
        self.stream = stream

    def put(self, chosen: list[tuple[str, bytes]], keys: int = 4) -> None:
        """Put lines in their order; those that follow each other to one shard share a record."""
        records = []
        for group, held in itertools.groupby(chosen, lambda one: sum(one[0].encode()) % keys):
            pairs = list(held)
            # Half of them as the Kinesis Producer Library packs, half as lines.
            data = pack(pairs) if group % 2 else b"".join(line for _, line in pairs)
            records.append({"Data": data, "PartitionKey": f"group {group}"})
        for at in range(0, len(records), 200):
            self.kinesis.client().put_records(
                StreamName=self.stream, Records=records[at : at + 200]
            )

    def put_poison(self) -> int:
        """Put records that are no order lines; return how many rejects they make."""
        bad = [b"\x00\xff\x01 no text", b'{"StockCode": ', b"x" * 100_000, b'"never closed,1,2']
        for data in bad:
            self.kinesis.client().put_record(
                StreamName=self.stream, Data=data, PartitionKey="group 1"
            )
        return len(bad)


def watch(folder: Path, until: int, kill_after: int = 0, *settings: str) -> dict[str, int]:
    """Run the engine, and kill it after so many polls, if any; return the last counts."""
    counts: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, SCRIPT, folder / "shop.toml", str(until), *settings],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as child:
        assert child.stdout is not None
        for polls, line in enumerate(child.stdout, 1):
            counts = json.loads(line)["counts"]
            if polls == kill_after:
                child.kill()
                break
    assert kill_after or child.returncode == 0
    return counts


@pytest.mark.timeout(120 + 45 * KILLS)
def test_the_alerts_of_a_stream_are_those_of_the_file_through_kills_and_reshards(
    kinesis: Kinesis, folder: Path
) -> None:
    chance = random.Random(5)
    stream = kinesis.stream(2)
    kinesis.faults.unavailable = 0.05
    kinesis.faults.expired_iterators = 0.05
    (folder / "shop.toml").write_text(TOML.format(stream=stream, url=kinesis.url))
    producer = Producer(kinesis, stream)
    poison = producer.put_poison()
    total = len(lines()) + poison
    for kill in range(KILLS):
        first, last = (len(lines()) * (kill + k) // KILLS for k in (0, 1))
        producer.put(lines()[first:last])
        if kill == 0:
            kinesis.split(stream, kinesis.shards(stream)[0]["ShardId"])
        if kill == 2:
            is_open = [
                one["ShardId"]
                for one in kinesis.shards(stream)
                if "EndingSequenceNumber" not in one["SequenceNumberRange"]
            ]
            kinesis.merge(stream, *sorted(is_open)[1:3])
        watch(folder, total, chance.choice([1, 5, 12, 25]))
    # Silent shards are waited for until all is there.
    counts = watch(folder, total, 0, "time.idle=4s")
    assert counts["read"] == total
    assert counts["scored"] == len(lines())
    assert counts["rejected"] == poison
    assert counts["late"] == counts["duplicate"] == 0
    with Store.read(folder / "state") as store:
        told = sorted(map(placeless, store.alerts(newest=False)))
        rejects = store.rejects(100)
    assert len(told) > 5
    assert told == whole()
    assert len(rejects) == poison
    assert all("(sequence number 4" in one.reason for one in rejects)
    assert all(one.source.startswith(f"{stream}/shardId-") for one in rejects)


def test_check_tells_what_stream_it_is_and_how_its_records_are_read(
    kinesis: Kinesis, folder: Path
) -> None:
    stream = kinesis.stream(2)
    (folder / "shop.toml").write_text(TOML.format(stream=stream, url=kinesis.url))
    empty = list(describe(config.load(folder / "shop.toml")))
    assert f"source      {stream} (kinesis, us-east-1, 2 shards to begin with)" in empty
    assert "            no records yet" in empty
    producer = Producer(kinesis, stream)
    producer.put_poison()
    producer.put(lines()[:30])
    told = list(describe(config.load(folder / "shop.toml")))
    (how,) = [one for one in told if one.startswith("read as")]
    assert how.startswith(f"read as     JSON Lines, dates iso (from {stream}/shardId-")
    assert "            sku          StockCode" in told
    assert not (folder / "state").exists()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_stream_that_is_not_there_is_one_line_and_code_2(
    kinesis: Kinesis, folder: Path, command: str
) -> None:
    (folder / "shop.toml").write_text(TOML.format(stream="nosuch", url=kinesis.url))
    done = subprocess.run(
        [sys.executable, "-m", "oddlot", command, folder / "shop.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (said,) = done.stderr.splitlines()
    assert "stream nosuch: must be there, in this account and region" in said
