"""The event source mapping does what Amazon's documentation says of Lambda with Kinesis."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from loopback.event_source import EventSource, Mapping, Record, to_s3, to_sqs
from loopback.fixtures import S3, Kinesis, MiniStack, wait_until
from loopback.runtime_api import Result
from loopback.s3_events import S3Events

NOW = 1_322_000_000.0
SHARD = "shardId-000000000000"
Invoke = Callable[[list[int]], object]


def batch(count: int, start: int = 0, age: float = 0.0, key: str = "k") -> list[Record]:
    return [
        {
            "SequenceNumber": str(number),
            "PartitionKey": key,
            "Data": b"%d" % number,
            "ApproximateArrivalTimestamp": datetime.fromtimestamp(NOW - age, UTC),
        }
        for number in range(start, start + count)
    ]


class Bench:
    """A mapping over a function that is a plain callable: what it saw, what was given up."""

    def __init__(self, function: Invoke, **options: Any) -> None:
        self.seen: list[list[int]] = []
        self.told: list[tuple[dict[str, Any], list[int]]] = []
        self.pauses: list[float] = []
        self._function = function
        self.source = EventSource(
            "orders",
            None,
            self._invoke,
            Mapping(**options),
            on_failure=self._on_failure,
            clock=lambda: NOW,
            sleep=self.pauses.append,
        )

    def _invoke(self, event: Any) -> Result:
        numbers = [int(base64.b64decode(record["kinesis"]["data"])) for record in event["Records"]]
        self.seen.append(numbers)
        try:
            return Result(self._function(numbers))
        except ValueError as error:
            return Result({"errorMessage": str(error)}, "Unhandled", "the-request")

    def _on_failure(self, message: dict[str, Any], records: Sequence[Record]) -> None:
        self.told.append((message, [int(one["SequenceNumber"]) for one in records]))


def raise_at(*poison: int) -> Invoke:
    def function(numbers: list[int]) -> None:
        if set(poison) & set(numbers):
            raise ValueError("poison")

    return function


def report_at(*poison: int) -> Invoke:
    def function(numbers: list[int]) -> object:
        failed = [{"itemIdentifier": str(one)} for one in numbers if one in poison]
        return {"batchItemFailures": failed}

    return function


def test_a_batch_that_fails_is_given_up_after_its_retries_and_told() -> None:
    bench = Bench(raise_at(3), maximum_retries=2)
    bench.source.settle(SHARD, batch(5))
    assert bench.seen == [[0, 1, 2, 3, 4]] * 3
    ((message, given_up),) = bench.told
    assert given_up == [0, 1, 2, 3, 4]
    assert message["requestContext"] == {
        "requestId": "the-request",
        "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:function",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 3,
    }
    assert message["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert message["KinesisBatchInfo"] == {
        "shardId": SHARD,
        "startSequenceNumber": "0",
        "endSequenceNumber": "4",
        "approximateArrivalOfFirstRecord": "2011-11-22T22:13:20.000Z",
        "approximateArrivalOfLastRecord": "2011-11-22T22:13:20.000Z",
        "batchSize": 5,
        "streamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
    }
    assert len(bench.pauses) == 2


def test_bisection_gives_up_the_poisoned_record_alone_and_costs_no_retry() -> None:
    bench = Bench(raise_at(5), maximum_retries=1, bisects=True)
    bench.source.settle(SHARD, batch(8))
    assert [given_up for _, given_up in bench.told] == [[5]]
    assert bench.seen == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [4, 5],
        [4],
        [5],
        [5],
        [6, 7],
    ]
    assert bench.source.counts["records"] == 7


def test_a_partial_response_retries_from_the_lowest_failed_sequence_number() -> None:
    bench = Bench(report_at(4, 2), maximum_retries=1, reports_failures=True)
    bench.source.settle(SHARD, batch(6))
    assert bench.seen == [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5]]
    assert [given_up for _, given_up in bench.told] == [[2, 3, 4, 5]]
    assert "functionError" not in bench.told[0][0]["responseContext"]


def test_a_partial_response_with_bisection_gives_up_only_what_failed() -> None:
    bench = Bench(report_at(2, 4), maximum_retries=0, reports_failures=True, bisects=True)
    bench.source.settle(SHARD, batch(6))
    assert [given_up for _, given_up in bench.told] == [[2], [4]]
    assert bench.source.counts["records"] == 4


@pytest.mark.parametrize(
    ("answer", "is_failure"),
    [
        (None, False),
        ({}, False),
        ({"batchItemFailures": []}, False),
        ({"batchItemFailures": None}, False),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, True),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, True),
        ({"batchItemFailures": [{"wrong": "1"}]}, True),
        ({"batchItemFailures": [{"itemIdentifier": "99"}]}, True),
        ("a text", True),
    ],
)
def test_what_counts_as_a_failure_of_the_whole_batch(answer: object, is_failure: bool) -> None:
    bench = Bench(lambda numbers: answer, maximum_retries=0, reports_failures=True)
    bench.source.settle(SHARD, batch(3))
    assert [given_up for _, given_up in bench.told] == [[0, 1, 2]] * is_failure


def test_an_answer_is_ignored_unless_the_mapping_asks_for_it() -> None:
    bench = Bench(report_at(1), maximum_retries=0)
    bench.source.settle(SHARD, batch(3))
    assert not bench.told
    assert bench.seen == [[0, 1, 2]]


def test_records_that_are_too_old_are_never_sent() -> None:
    bench = Bench(raise_at(), maximum_age_seconds=60)
    bench.source.settle(SHARD, batch(2, age=61) + batch(2, start=2, age=59))
    assert bench.seen == [[2, 3]]
    ((message, given_up),) = bench.told
    assert given_up == [0, 1]
    assert message["requestContext"]["condition"] == "RecordAgeExceeded"


def test_parallel_lanes_keep_the_order_of_each_key() -> None:
    bench = Bench(raise_at(), parallelization_factor=10)
    records = [one for n in range(50) for one in batch(1, start=n, key=f"k{n % 7}")]
    bench.source.settle(SHARD, records)
    assert 1 < len(bench.seen) <= 7
    for key in range(7):
        (lane,) = [lane for lane in bench.seen if key in lane]
        assert [n for n in lane if n % 7 == key] == list(range(key, 50, 7))


def test_a_shard_waits_behind_its_poison_and_the_other_goes_on(kinesis: Kinesis) -> None:
    stream = kinesis.stream(2)
    kinesis.client().put_records(
        StreamName=stream,
        Records=[{"Data": b"%d" % n, "PartitionKey": f"k{n}"} for n in range(20)],
    )
    shards = {int(one["Data"]): one["ShardId"] for one in kinesis.records(stream)}
    poisoned = shards[0]
    bench = Bench(raise_at(0))  # the defaults: no limit of retries
    bench.source._client = kinesis.client()
    bench.source.stream = stream
    other = sum(shard != poisoned for shard in shards.values())
    with bench.source:
        wait_until(lambda: bench.source.counts["records"] >= other, "the other shard stands still")
        wait_until(lambda: bench.source.counts["retries"] >= 3, "no retries")
    assert set(bench.source.settled()) == set(shards.values()) - {poisoned}
    assert not bench.told


def test_children_are_read_after_their_parents_and_nothing_is_left_out(kinesis: Kinesis) -> None:
    stream = kinesis.stream(1)

    def put(start: int) -> None:
        kinesis.client().put_records(
            StreamName=stream,
            Records=[
                {"Data": b"%d" % n, "PartitionKey": f"k{n % 5}"} for n in range(start, start + 50)
            ],
        )

    put(0)
    kinesis.split(stream, SHARD)
    put(50)
    kinesis.merge(stream, "shardId-000000000001", "shardId-000000000002")
    put(100)
    bench = Bench(raise_at(), batch_size=10)
    bench.source._client = kinesis.client()
    bench.source._poll_seconds = 0.05
    bench.source.stream = stream
    with bench.source:
        wait_until(lambda: bench.source.counts["records"] >= 150, "records are missing")
    seen = [number for numbers in bench.seen for number in numbers]
    assert sorted(seen) == list(range(150))
    assert max(map(len, bench.seen)) <= 10
    for key in range(5):
        mine = [number for number in seen if number % 5 == key]
        assert mine == sorted(mine)
    assert not bench.source.problems


def test_given_up_batches_arrive_in_a_queue_and_in_a_bucket(ministack: MiniStack, s3: S3) -> None:
    sqs, bucket = ministack.client("sqs"), s3.bucket()
    queue = sqs.create_queue(QueueName="given-up")["QueueUrl"]
    destinations = [to_sqs(sqs, queue), to_s3(s3.client(), bucket, "the-mapping")]

    def tell(message: dict[str, Any], records: Sequence[Record]) -> None:
        for send in destinations:
            send(message, records)

    bench = Bench(raise_at(1), maximum_retries=0)
    bench.source._on_failure = tell
    bench.source.settle(SHARD, batch(2))
    got = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    message = json.loads(got[0]["Body"])
    assert message["KinesisBatchInfo"]["batchSize"] == 2
    ((key, body),) = s3.objects(bucket).items()
    assert key.startswith(f"aws/lambda/the-mapping/{SHARD}/2011/11/22/2011-11-22T22.13.20-")
    stored = json.loads(body)
    payload = json.loads(stored.pop("payload"))
    assert stored == message
    assert [base64.b64decode(one["Data"]) for one in payload["Records"]] == [b"0", b"1"]


def test_a_new_object_is_told_once_and_an_invocation_that_fails_twice_more(s3: S3) -> None:
    bucket = s3.bucket()
    seen: list[str] = []
    pauses: list[float] = []

    def invoke(event: Any) -> Result:
        seen.append(event["Records"][0]["s3"]["object"]["key"])
        return Result(None, "Unhandled" if "bad" in seen[-1] else "")

    events = S3Events(
        bucket, s3.client(), invoke, prefix="in/", suffix=".jsonl", sleep=pauses.append
    )
    for key in ("in/a b+ü.jsonl", "in/a.csv", "out/a.jsonl"):
        s3.client().put_object(Bucket=bucket, Key=key, Body=b"1")
    assert [events.tell(), events.tell()] == [1, 0]
    assert seen == ["in/a+b%2B%C3%BC.jsonl"]
    s3.client().put_object(Bucket=bucket, Key="in/bad.jsonl", Body=b"1")
    events.tell()
    assert seen[1:] == ["in/bad.jsonl"] * 3
    assert pauses == [60.0, 120.0]
    assert events.counts["given_up"] == 1
