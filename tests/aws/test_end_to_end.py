"""Orders to a subscriber through every part, with kills and faults: nothing lost, nothing new."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loopback.fixtures import S3, Kinesis, MiniStack
from loopback.pipeline import COMMON, SEVERITIES, Pipeline, replay, wait_for
from oddlot import config
from oddlot.alerts.make import alert_row
from oddlot.engine.embedded import Engine
from oddlot.errors import OddlotError
from oddlot.simulate import Shop, write_shop
from oddlot.store import Store
from oddlot.streams import kpl

KILLS = int(os.environ.get("ODDLOT_KILLS", "4"))
DISTURBANCES = 4
# Orders are replayed in slices, and while so many lines are under way no new slice begins, so that
# a slow machine changes nothing: what is throttled or sent again comes at most some days of orders
# after its neighbours.
SLICE = 300
UNDER_WAY = 300
LATENESS = "10d"
NOW_US = 2 * 10**15  # after all orders
# Where a line stood: of a file in the one run, of a shard in the other.
PLACE = ("source", "position", "number")
POISON = b"\xff\x00 no order at all\n"
HUGE = b'{"InvoiceNo":"' + b"9" * (2 << 20) + b'"}\n'
ODD = (POISON, HUGE)

Row = dict[str, Any]


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A shop of 30 days with faults in it."""
    shop = Shop(seed=3, days=30, skus=60, lines_per_day=250, faults_per_day=3.0)
    write_shop(shop, str(tmp_path / "shop"), "csv")
    return tmp_path / "shop" / "orders.csv"


def embedded(orders: Path) -> dict[str, Row]:
    """Run the engine over the file in one piece; alerts by id."""
    settings = config.from_text(
        '[source]\ndates = "iso"\n' + COMMON.format(lateness=LATENESS, idle="off"), "a test"
    )
    engine = Engine(settings)
    outcomes = list(engine.feed("orders.csv", orders.read_bytes(), True, NOW_US))
    outcomes.append(engine.finish())
    return {alert.id: alert_row(alert) for outcome in outcomes for alert in outcome.alerts}


def text_of(row: Row) -> bytes:
    """Return what must be the same to the byte: all but the line's place.

    An alert about no line has no price: null in the one, left out of the function's message.
    """
    return json.dumps(
        {name: row[name] for name in row if name not in PLACE and row[name] is not None}
    ).encode()


def open_shards(kinesis: Kinesis, stream: str) -> list[str]:
    """Return the shards that take records, by their hash keys."""
    found = [
        (int(shard["HashKeyRange"]["StartingHashKey"]), shard["ShardId"])
        for shard in kinesis.shards(stream)
        if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    ]
    return [shard for _, shard in sorted(found)]


def disturb(pipeline: Pipeline, step: int) -> None:
    """Do the next of what must not matter."""
    kinesis, stream = pipeline.kinesis, pipeline.orders
    shards = open_shards(kinesis, stream)
    match step:
        case 0:
            kinesis.split(stream, shards[0])
        case 1:
            arn = f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream}"
            kinesis.client().update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=10240)
            kinesis.settle(stream)
            for data in ODD:
                kinesis.client().put_record(StreamName=stream, Data=data, PartitionKey="odd")
        case 2:
            kinesis.faults.throttled_shards = {shards[0]}
        case 3:
            kinesis.faults.throttled_shards = set()
            kinesis.merge(stream, shards[0], shards[1])


@pytest.mark.timeout(600 + 30 * KILLS)
def test_the_subscriber_hears_what_the_embedded_run_finds(
    kinesis: Kinesis, s3: S3, ministack: MiniStack, tmp_path: Path, orders: Path
) -> None:
    expected = embedded(orders)
    header, *records = orders.read_bytes().splitlines(keepends=True)
    lines = len(records)
    assert len(expected) > 50
    chance = random.Random(4)
    with Pipeline(tmp_path / "all", kinesis, s3, ministack, lateness=LATENESS) as pipeline:
        faults = kinesis.faults
        faults.lost_replies, faults.internal_failures = 0.05, 0.02
        faults.expired_iterators, faults.unavailable = 0.02, 0.02
        pipeline.agent.start()
        pipeline.engine.start()
        kills, disturbed, written, arrived = 0, 0, 0, 0
        while written < lines or kills < KILLS or disturbed < DISTURBANCES:
            if written < lines and written - arrived < UNDER_WAY:
                part = records[written : written + SLICE]
                replay(header + b"".join(part), pipeline.logs, 0.01)
                written += len(part)
            arrived = len(ids(pipeline))
            passed = arrived / lines
            if disturbed < DISTURBANCES and passed > 0.15 + 0.2 * disturbed:
                disturb(pipeline, disturbed)
                disturbed += 1
            if kills < KILLS and passed > (kills + chance.random()) / (KILLS + 1):
                victim = (pipeline.agent, pipeline.engine)[kills % 2]
                assert victim.is_alive, victim.said()
                victim.kill()
                victim.start()
                kills += 1
        faults.clear()
        wait_for(lambda: len(ids(pipeline)) >= lines, "lines are missing", pipeline.agent)
        sent = ids(pipeline)
        landed = query_landed(pipeline, lines)
        pipeline.agent.stop()
        on_stream = read_lines(pipeline, pipeline.orders)
        wait_for(
            lambda: counters(pipeline).get("read") == len(on_stream) + len(ODD),
            f"not all of {len(on_stream)} lines are read",
            pipeline.engine,
        )
        # The last days of orders wait for later ones; there are none, so let them go.
        pipeline.engine.stop()
        pipeline.engine.start("--set", "time.idle=1s")
        heard: list[Row] = []

        def is_complete() -> bool:
            heard.extend(pipeline.published())
            return {row["id"] for row in heard} >= expected.keys()

        wait_for(is_complete, f"of {len(expected)} alerts some are missing", pipeline.engine)
        pipeline.engine.stop()
        heard.extend(pipeline.published())
        streamed = [json.loads(line) for line in read_lines(pipeline, pipeline.alerts)]
        count = counters(pipeline)
        assert not pipeline.given_up()
        assert not pipeline.source.problems
    assert len(sent) == lines
    assert sent == landed
    # Every line was scored once; what came again was known by its id, or came too late for that.
    assert count["scored"] == lines
    assert count["rejected"] == len(ODD)
    assert count["duplicate"] + count["late"] == len(on_stream) - lines
    for row in heard:  # the function says which topic it chose
        least = max(one for one in SEVERITIES.values() if one <= row["severity"])
        assert SEVERITIES[row.pop("level")] == least
    for rows in (streamed, heard):
        by_id = {row["id"]: text_of(row) for row in rows}
        assert by_id == {one: text_of(row) for one, row in expected.items()}
        # Duplicates are whole copies.
        assert all(text_of(row) == by_id[row["id"]] for row in rows)


def counters(pipeline: Pipeline) -> dict[str, int]:
    """Return what the engine had counted at its last checkpoint."""
    try:
        with Store.read(pipeline.folder / "state") as store:
            return store.counts()
    except OddlotError:
        return {}  # there is none yet


def read_lines(pipeline: Pipeline, stream: str) -> list[bytes]:
    """Read a stream to its end: the lines, without what the test put there."""
    found: list[bytes] = []
    for record in pipeline.kinesis.records(stream):
        if record["Data"] not in ODD:
            packed = kpl.unpack(record["Data"])
            found += [record["Data"]] if packed is None else [one for _, one in packed]
    return found


def ids(pipeline: Pipeline) -> set[str]:
    """Return the ids of the lines that are on the stream."""
    return {json.loads(one)["recordId"] for one in read_lines(pipeline, pipeline.orders)}


def query_landed(pipeline: Pipeline, lines: int) -> set[str]:
    """Ask DuckDB what Firehose wrote to S3; return the ids of the lines."""
    found: set[str] = set()

    def is_complete() -> bool:
        files = str(pipeline.landed() / "landed" / "dt=*" / "*.gz")
        if pipeline.firehose.counts["delivered"]:
            asked = "SELECT DISTINCT recordId FROM read_json(?, format = 'newline_delimited')"
            found.update(one for (one,) in duckdb.execute(asked, [files]).fetchall())
        return len(found) >= lines

    wait_for(is_complete, "lines are missing", pipeline.agent)
    assert len(found) == lines
    return found
