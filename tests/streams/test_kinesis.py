"""Every record of a stream is handed out once, through reshards, restarts and refusals."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopback.fixtures import Kinesis as Server
from loopback.fixtures import wait_until
from oddlot.errors import ConfigError
from oddlot.streams.chunks import Chunk
from oddlot.streams.kinesis import Kinesis
from oddlot.streams.kpl import pack
from oddlot.streams.shard_reader import ShardReader

STEP_US = 300_000  # the clock between two polls
THROTTLED = "ProvisionedThroughputExceededException"


class Consumer:
    """Polls a reader by a clock of its own, through restarts; keeps the lines of each shard."""

    def __init__(self, options: Kinesis) -> None:
        self.options = options
        self.now_us = 1_000_000_000
        self.lines: dict[str, list[bytes]] = defaultdict(list)
        self.reader: ShardReader = options.open()

    def poll(self, times: int = 1) -> list[Chunk]:
        found: list[Chunk] = []
        for _ in range(times):
            self.now_us += STEP_US
            found += self.reader.poll(self.now_us)
        for chunk in found:
            data = bytes(chunk.data)
            assert data.endswith(b"\n")
            self.lines[chunk.partition] += data.splitlines(keepends=True)
        return found

    def poll_until(self, is_so: Callable[[], bool]) -> None:
        for _ in range(400):
            self.poll()
            if is_so():
                return
        raise AssertionError(f"not so after 400 polls: {self.reader.problems} {self.count}")

    @property
    def count(self) -> int:
        return sum(map(len, self.lines.values()))

    def all_lines(self) -> list[bytes]:
        return sorted(line for lines in self.lines.values() for line in lines)

    def restart(self) -> None:
        saved = msgspec.json.decode(msgspec.json.encode(self.reader.positions()))
        self.reader.close()
        self.reader = self.options.open(saved)


def put(server: Server, stream: str, first: int, count: int, keys: int = 20) -> list[bytes]:
    """Put lines of JSON, one a record, straight into the server; return them with line ends."""
    lines = [
        json.dumps({"key": f"k{number % keys}", "number": number}).encode()
        for number in range(first, first + count)
    ]
    for at in range(0, count, 400):
        server.client().put_records(
            StreamName=stream,
            Records=[
                {"Data": line, "PartitionKey": f"k{(first + at + i) % keys}"}
                for i, line in enumerate(lines[at : at + 400])
            ],
        )
    return [line + b"\n" for line in lines]


def options(server: Server, stream: str, **more: Any) -> Kinesis:
    return Kinesis(stream=stream, endpoint=server.url, region="us-east-1", **more)


def test_each_record_comes_once_through_splits_merges_and_restarts(kinesis: Server) -> None:
    kinesis.faults.limited = False
    stream = kinesis.stream(2)
    written = put(kinesis, stream, 0, 100)
    consumer = Consumer(options(kinesis, stream))
    consumer.poll_until(lambda: consumer.count >= 60)
    consumer.restart()
    first, second = [one["ShardId"] for one in kinesis.shards(stream)]
    kinesis.split(stream, first)
    written += put(kinesis, stream, 100, 100)
    consumer.poll(2)
    consumer.restart()
    open_ones = [
        one["ShardId"]
        for one in sorted(
            kinesis.shards(stream), key=lambda one: int(one["HashKeyRange"]["StartingHashKey"])
        )
        if "EndingSequenceNumber" not in one["SequenceNumberRange"]
    ]
    kinesis.merge(stream, *open_ones[1:3])
    assert second in open_ones
    written += put(kinesis, stream, 200, 100)
    consumer.restart()
    consumer.poll_until(lambda: consumer.count >= 300)
    consumer.poll(3)
    assert consumer.all_lines() == sorted(written)
    assert len(consumer.lines) == 5
    # In the order of arrival, the lines of a key are in order across parents and children.
    assert consumer.reader.problems == {}


def test_the_lines_of_a_key_stay_in_order_over_a_split(kinesis: Server) -> None:
    kinesis.faults.limited = False
    stream = kinesis.stream(1)
    put(kinesis, stream, 0, 60)
    kinesis.split(stream, kinesis.shards(stream)[0]["ShardId"])
    put(kinesis, stream, 60, 60)
    consumer = Consumer(options(kinesis, stream))
    came: dict[str, list[int]] = defaultdict(list)
    for _ in range(20):
        for chunk in consumer.poll():
            for line in bytes(chunk.data).splitlines():
                record = json.loads(line)
                came[record["key"]].append(record["number"])
    assert sum(map(len, came.values())) == 120
    assert all(numbers == sorted(numbers) for numbers in came.values())


def test_records_hold_several_lines_or_other_records(kinesis: Server) -> None:
    stream = kinesis.stream(1)
    packed = pack([("k1", b'{"a": 3}'), ("k2", b'{"a": 4}\n{"a": 5}\n')])
    damaged = packed[:-1] + bytes([packed[-1] ^ 1])
    for data in (b'{"a": 1}\n{"a": 2}', packed, b"\n", damaged):
        kinesis.client().put_record(StreamName=stream, Data=data, PartitionKey="k")
    consumer = Consumer(options(kinesis, stream))
    consumer.poll_until(lambda: consumer.count >= 6)
    (lines,) = consumer.lines.values()
    assert lines[:5] == [b'{"a": %d}\n' % number for number in range(1, 6)]
    assert b"".join(lines[5:]).startswith(damaged[:4])
    counts = consumer.reader.counts
    assert [counts[name] for name in ("records", "aggregated", "damaged", "empty")] == [4, 1, 1, 1]


def test_throttled_and_failing_reads_lose_nothing(kinesis: Server) -> None:
    stream = kinesis.stream(3)
    written = put(kinesis, stream, 0, 200)
    kinesis.faults.unavailable = 0.3
    kinesis.faults.expired_iterators = 0.2
    consumer = Consumer(options(kinesis, stream))
    counts = kinesis.counts
    consumer.poll_until(
        lambda: (
            consumer.count >= 200 and bool(counts["unavailable"] and counts["expired_iterators"])
        )
    )
    consumer.restart()
    kinesis.faults.unavailable = kinesis.faults.expired_iterators = 0.0
    written += put(kinesis, stream, 200, 50)
    consumer.poll_until(lambda: consumer.count >= 250)
    assert consumer.all_lines() == sorted(written)


def test_reads_that_are_throttled_are_told_and_tried_again(kinesis: Server) -> None:
    stream = kinesis.stream(1)
    put(kinesis, stream, 0, 10)
    consumer = Consumer(options(kinesis, stream))
    kinesis.faults.refused["GetRecords"] = (THROTTLED, "Rate exceeded for shard")
    consumer.poll(6)
    assert consumer.reader.counts["throttled"] >= 2
    assert consumer.count == 0
    assert consumer.reader.live(consumer.now_us) == {f"{stream}/shardId-000000000000"}
    kinesis.faults.clear()
    consumer.poll_until(lambda: consumer.count == 10)


@pytest.mark.parametrize("has_record", [True, False])
def test_latest_begins_with_the_start_and_goes_on_there_after_a_restart(
    kinesis: Server, has_record: bool
) -> None:
    stream = kinesis.stream(1)
    put(kinesis, stream, 0, 10)
    consumer = Consumer(options(kinesis, stream, start="latest"))
    # A restart goes on at the time of the first poll, so that it must be the server's time.
    consumer.now_us = time.time_ns() // 1000 - STEP_US
    consumer.poll()
    written = put(kinesis, stream, 10, 5) if has_record else []
    if has_record:
        consumer.poll_until(lambda: consumer.count == 5)
    consumer.restart()
    written += put(kinesis, stream, 15, 5)
    consumer.poll_until(lambda: consumer.count == len(written))
    consumer.poll(3)
    assert consumer.all_lines() == sorted(written)


def test_a_time_to_start_at_leaves_out_what_is_older(kinesis: Server) -> None:
    stream = kinesis.stream(1)
    put(kinesis, stream, 0, 5)
    arrived = kinesis.records(stream)[-1]["ApproximateArrivalTimestamp"].timestamp()
    later = Consumer(options(kinesis, stream, start=_iso(arrived + 0.001)))
    later.poll(5)
    assert later.count == 0
    before = Consumer(options(kinesis, stream, start="2020-01-01T00:00:00Z"))
    before.poll_until(lambda: before.count == 5)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def test_a_stream_that_is_deleted_is_waited_for_and_read_anew(kinesis: Server) -> None:
    stream = kinesis.stream(1)
    written = put(kinesis, stream, 0, 10)
    consumer = Consumer(options(kinesis, stream))
    consumer.poll_until(lambda: consumer.count == 10)
    kinesis.client().delete_stream(StreamName=stream)
    consumer.poll_until(lambda: "must be there" in " ".join(consumer.reader.problems.values()))
    wait_until(lambda: stream not in kinesis.client().list_streams()["StreamNames"], "is there")
    kinesis.client().create_stream(StreamName=stream, ShardCount=1)
    kinesis.settle(stream)
    written += put(kinesis, stream, 50, 10)
    consumer.poll_until(lambda: consumer.count == 20)
    assert consumer.all_lines() == sorted(written)
    assert consumer.reader.counts["recreated"] == 1
    consumer.poll_until(lambda: consumer.reader.problems == {})


def test_a_refusal_in_mid_run_is_told_and_heals(kinesis: Server) -> None:
    stream = kinesis.stream(1)
    consumer = Consumer(options(kinesis, stream))
    consumer.poll(2)
    put(kinesis, stream, 0, 3)
    for error, said in (
        ("AccessDeniedException", "may not call GetRecords"),
        ("ExpiredTokenException", "have expired"),
    ):
        kinesis.faults.refused["GetRecords"] = (error, "User: x is not authorized")
        consumer.poll_until(lambda: bool(consumer.reader.problems))
        (problem,) = consumer.reader.problems.values()
        assert said in problem
        assert "\n" not in problem
        kinesis.faults.clear()
        if error == "ExpiredTokenException":
            consumer.poll_until(lambda: consumer.count == 3)
        else:
            consumer.reader.problems.clear()
    assert consumer.reader.problems == {}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"stream": "nosuch"}, "stream nosuch: must be there, in this account and region; got: "),
        ({"region": ""}, "stream {stream}: region must be set, such as eu-west-1; got nothing"),
        ({"profile": "nobody"}, "stream {stream}: profile must be one of the AWS configuration"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line(
    kinesis: Server, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], text: str
) -> None:
    stream = kinesis.stream(1)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(ConfigError) as refused:
        msgspec.structs.replace(options(kinesis, stream), **change).open()
    assert str(refused.value).startswith(text.format(stream=stream))
    assert "\n" not in str(refused.value)


def test_no_credentials_are_one_line(kinesis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = kinesis.stream(1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigError, match="no credentials for AWS were found: set AWS_ACCESS"):
        options(kinesis, stream).open()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("AccessDeniedException", "may not call DescribeStreamSummary; give this user or role"),
        ("UnrecognizedClientException", "the credentials must be valid here"),
    ],
)
def test_a_refusal_at_the_start_is_one_line(kinesis: Server, error: str, text: str) -> None:
    stream = kinesis.stream(1)
    kinesis.faults.refused["DescribeStreamSummary"] = (error, "AKIAIOSFODNN7EXAMPLE says no")
    with pytest.raises(ConfigError) as refused:
        options(kinesis, stream).open()
    assert text in str(refused.value)
    assert "AKIA" not in str(refused.value)


def test_a_shard_holds_the_others_back_until_it_has_been_silent_at_its_end(
    kinesis: Server,
) -> None:
    stream = kinesis.stream(2)
    consumer = Consumer(options(kinesis, stream, hold="5s"))
    both = {f"{stream}/{one['ShardId']}" for one in kinesis.shards(stream)}
    assert consumer.reader.live(consumer.now_us) == both
    consumer.poll(2)
    assert consumer.reader.live(consumer.now_us) == both
    assert consumer.reader.live(consumer.now_us + 5_000_000) == set()
    patient = Consumer(options(kinesis, stream, hold="off"))
    patient.poll(2)
    assert patient.reader.live(patient.now_us + 10**12) == both


class Sharer:
    """One of several readers that share the shards by leases; its checkpoints are at once."""

    clock_us = 1_000_000_000  # of all of them

    def __init__(self, shared: Kinesis) -> None:
        self.lines: list[bytes] = []
        self.read: set[str] = set()
        self.reader = ShardReader(shared.place, {}, clock_us=lambda: Sharer.clock_us)

    def poll(self) -> None:
        Sharer.clock_us += 1_000_000
        self.read = set()
        for chunk in self.reader.poll(Sharer.clock_us):
            self.read.add(chunk.partition)
            self.lines += bytes(chunk.data).splitlines(keepends=True)
        self.reader.committed()

    @property
    def held(self) -> set[str]:
        return self.reader.live(Sharer.clock_us)


def test_readers_share_the_shards_and_one_goes_on_where_another_left_off(
    kinesis: Server, tmp_path: Path
) -> None:
    kinesis.faults.limited = False
    stream = kinesis.stream(4)
    shared = options(kinesis, stream, hold="off", leases=str(tmp_path / "leases.sqlite"))
    written = put(kinesis, stream, 0, 80, keys=40)
    first = Sharer(shared)
    for _ in range(10):
        first.poll()
    assert len(first.held) == 4
    assert sorted(first.lines) == sorted(written)
    second = Sharer(shared)
    for _ in range(40):
        first.poll()
        second.poll()
    assert (len(first.held), len(second.held)) == (2, 2)
    assert not first.held & second.held
    written += put(kinesis, stream, 80, 80, keys=40)
    for _ in range(10):
        first.poll()
        second.poll()
    assert sorted(first.lines + second.lines) == sorted(written)
    assert len(second.lines) > 10
    kinesis.split(stream, kinesis.shards(stream)[0]["ShardId"])
    written += put(kinesis, stream, 160, 80, keys=40)
    first.poll()
    # The first one dies: it neither reads nor says anything any more, and gives nothing back.
    for _ in range(120):
        second.poll()
    assert sorted(first.lines + second.lines) == sorted(written)
    assert len(second.held) == 5
    second.reader.close()
