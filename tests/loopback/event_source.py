"""Lambda's event source mapping for Kinesis: batches, retries, bisection, on-failure messages."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from loopback.runtime_api import Result
from loopback.servers import ACCOUNT, REGION

Record = dict[str, Any]  # as boto3's GetRecords gives it

_PAYLOAD_BYTES = 6 << 20
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Mapping:
    """The options of a mapping, by Amazon's names; the same defaults."""

    batch_size: int = 100
    window_seconds: float = 0.0  # MaximumBatchingWindowInSeconds, 0 to 300
    parallelization_factor: int = 1  # 1 to 10
    bisects: bool = False  # BisectBatchOnFunctionError
    maximum_retries: int = -1  # -1: until the record is too old
    maximum_age_seconds: float = -1.0  # -1: until the stream forgets it
    reports_failures: bool = False  # FunctionResponseTypes has ReportBatchItemFailures
    starting: str = "TRIM_HORIZON"


class EventSource:
    """A mapping: reads a stream and invokes a function with its records.

    `counts` has `invocations`, `records` (that a function took), `retries`, `bisections`,
    `exhausted` and `too_old` (records given up).

    Args:
        stream: its name.
        client: of Kinesis.
        invoke: calls the function.
        mapping: options.
        on_failure: gets the message about records that were given up, and those records.
        function_arn: for that message.
        clock: Unix seconds.
        sleep: waits between retries and polls.
        poll_seconds: between two reads of a shard; Amazon's is 1.
    """

    def __init__(
        self,
        stream: str,
        client: Any,
        invoke: Callable[[object], Result],
        mapping: Mapping,
        *,
        on_failure: Callable[[dict[str, Any], Sequence[Record]], None] = lambda *_: None,
        function_arn: str = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function",
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] | None = None,
        poll_seconds: float = 1.0,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.stream = stream
        self.mapping = mapping
        self._client = client
        self._invoke = invoke
        self._on_failure = on_failure
        self._function_arn = function_arn
        self._clock = clock
        self._stop = threading.Event()
        self._sleep = sleep or self._stop.wait
        self._poll_seconds = poll_seconds
        self._done: dict[str, str] = {}  # shard: last sequence number that is settled
        self._ended: set[str] = set()
        self._counting = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._chance = random.Random(0)
        self.problems: list[BaseException] = []

    def __enter__(self) -> Self:
        self._watcher = threading.Thread(target=self._watch_shards, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._watcher.join()
        for thread in self._threads.values():
            thread.join()

    def settled(self) -> dict[str, str]:
        """Return each shard's last sequence number that was taken or given up."""
        return dict(self._done)

    def settle(self, shard: str, batch: Sequence[Record]) -> None:
        """Bring a batch to its end: taken by the function, or given up and told.

        With a parallelization factor a batch is cut by partition key, so that the records of one
        key stay in order.
        """
        lanes: dict[int, list[Record]] = {}
        for record in batch:
            key = record["PartitionKey"].encode()
            digest = hashlib.md5(key, usedforsecurity=False).digest()
            lanes.setdefault(digest[0] % self.mapping.parallelization_factor, []).append(record)
        if len(lanes) == 1:
            self._settle_lane(shard, batch, 0)
            return
        with ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(lambda lane: self._settle_lane(shard, lane, 0), lanes.values()))

    def _settle_lane(self, shard: str, batch: Sequence[Record], tries: int) -> None:
        """Try a piece until it is settled; `tries` counts calls, a split is none."""
        while batch and not self._stop.is_set():
            batch = self._give_up_old(shard, batch, tries)
            if not batch:
                return
            result = self._invoke(self._event(shard, batch))
            tries += 1
            self._count("invocations", 1)
            first_failed = self._find_failed(batch, result)
            if first_failed is None:
                self._count("records", len(batch))
                return
            if first_failed:  # what came before the failed record counts as taken
                self._count("records", first_failed)
                batch = batch[first_failed:]
                if self.mapping.bisects:  # "bisected at the returned sequence number"
                    self._count("bisections", 1)
                    tries -= 1
                    continue
            elif self.mapping.bisects and len(batch) > 1:
                self._count("bisections", 1)
                middle = len(batch) // 2
                self._settle_lane(shard, batch[:middle], tries - 1)
                batch, tries = batch[middle:], tries - 1
                continue
            if 0 <= self.mapping.maximum_retries < tries:
                self._count("exhausted", len(batch))
                self._tell(shard, batch, "RetryAttemptsExhausted", tries, result)
                return
            self._count("retries", 1)
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(tries - 1, 10))
            self._sleep(self._chance.uniform(0, pause))

    def _give_up_old(self, shard: str, batch: Sequence[Record], tries: int) -> Sequence[Record]:
        longest = self.mapping.maximum_age_seconds
        if longest < 0:
            return batch
        oldest = self._clock() - longest
        old = [one for one in batch if _arrival(one) < oldest]
        if old:
            self._count("too_old", len(old))
            self._tell(shard, old, "RecordAgeExceeded", tries, None)
        return [one for one in batch if _arrival(one) >= oldest]

    def _find_failed(self, batch: Sequence[Record], result: Result) -> int | None:
        """Return the place of the first failed record; None if all went well."""
        if result.error:
            return 0
        if not self.mapping.reports_failures:
            return None
        answer = result.payload
        if answer in (None, {}, ""):
            return None
        failures = answer.get("batchItemFailures") if isinstance(answer, dict) else ()
        if not failures:
            return 0 if isinstance(failures, tuple) else None
        places = {record["SequenceNumber"]: place for place, record in enumerate(batch)}
        try:
            # "the lowest sequence number is the checkpoint"; anything odd is a whole failure.
            return min(places[failure["itemIdentifier"]] for failure in failures)
        except (KeyError, TypeError):
            return 0

    def _event(self, shard: str, batch: Sequence[Record]) -> dict[str, Any]:
        return {
            "Records": [
                {
                    "kinesis": {
                        "kinesisSchemaVersion": "1.0",
                        "partitionKey": record["PartitionKey"],
                        "sequenceNumber": record["SequenceNumber"],
                        "data": base64.b64encode(record["Data"]).decode(),
                        "approximateArrivalTimestamp": round(_arrival(record), 3),
                    },
                    "eventSource": "aws:kinesis",
                    "eventVersion": "1.0",
                    "eventID": f"{shard}:{record['SequenceNumber']}",
                    "eventName": "aws:kinesis:record",
                    "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/function",
                    "awsRegion": REGION,
                    "eventSourceARN": self.arn,
                }
                for record in batch
            ]
        }

    @property
    def arn(self) -> str:
        """The stream's."""
        return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{self.stream}"

    def _tell(
        self,
        shard: str,
        batch: Sequence[Record],
        condition: str,
        tries: int,
        result: Result | None,
    ) -> None:
        context: dict[str, Any] = {
            "requestId": (result.request_id if result else "") or str(uuid.uuid4()),
            "functionArn": self._function_arn,
            "condition": condition,
            "approximateInvokeCount": tries,
        }
        response: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if result and result.error:
            response["functionError"] = result.error
        self._on_failure(
            {
                "requestContext": context,
                "responseContext": response,
                "version": "1.0",
                "timestamp": _iso(self._clock()),
                "KinesisBatchInfo": {
                    "shardId": shard,
                    "startSequenceNumber": batch[0]["SequenceNumber"],
                    "endSequenceNumber": batch[-1]["SequenceNumber"],
                    "approximateArrivalOfFirstRecord": _iso(_arrival(batch[0])),
                    "approximateArrivalOfLastRecord": _iso(_arrival(batch[-1])),
                    "batchSize": len(batch),
                    "streamArn": self.arn,
                },
            },
            batch,
        )

    def _watch_shards(self) -> None:
        """Start a thread for each shard whose parents are read to their end."""
        try:
            self._start_readers()
        except BaseException as error:
            self.problems.append(error)
            raise

    def _start_readers(self) -> None:
        while not self._stop.is_set():
            listed = self._client.list_shards(StreamName=self.stream)["Shards"]
            present = {shard["ShardId"] for shard in listed}
            for shard in listed:
                parents = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")}
                is_ready = all(parent in self._ended for parent in parents if parent in present)
                if shard["ShardId"] not in self._threads and is_ready:
                    thread = threading.Thread(
                        target=self._read, args=(shard["ShardId"], bool(parents & self._ended))
                    )
                    self._threads[shard["ShardId"]] = thread
                    thread.start()
            self._stop.wait(self._poll_seconds)

    def _read(self, shard: str, is_child: bool) -> None:
        try:
            self._read_all(shard, "TRIM_HORIZON" if is_child else self.mapping.starting)
        except BaseException as error:
            self.problems.append(error)
            raise

    def _read_all(self, shard: str, starting: str) -> None:
        waiting: list[Record] = []
        since = 0.0
        iterator = self._client.get_shard_iterator(
            StreamName=self.stream, ShardId=shard, ShardIteratorType=starting
        )["ShardIterator"]
        while not self._stop.is_set():
            if iterator:
                got = self._client.get_records(ShardIterator=iterator, Limit=10_000)
                iterator = got.get("NextShardIterator")
                since = since if waiting else self._clock()
                waiting += got["Records"]
            is_due = not iterator or self._clock() - since >= self.mapping.window_seconds
            while waiting and not self._stop.is_set():
                count = _count_that_fit(waiting, self.mapping.batch_size)
                is_full = count < len(waiting) or count == self.mapping.batch_size
                if not (is_full or is_due):
                    break
                batch, waiting = waiting[:count], waiting[count:]
                self.settle(shard, batch)
                if self._stop.is_set():
                    return
                self._done[shard] = batch[-1]["SequenceNumber"]
            if not iterator and not waiting:
                self._ended.add(shard)
                return
            self._stop.wait(self._poll_seconds)

    def _count(self, what: str, number: int) -> None:
        with self._counting:
            self.counts[what] += number


def to_sqs(client: Any, queue_url: str) -> Callable[[dict[str, Any], Sequence[Record]], None]:
    """Return an on-failure destination: the message goes to a queue, without the records."""

    def send(message: dict[str, Any], _: Sequence[Record]) -> None:
        client.send_message(QueueUrl=queue_url, MessageBody=json.dumps(message))

    return send


def to_s3(
    client: Any, bucket: str, mapping_id: str
) -> Callable[[dict[str, Any], Sequence[Record]], None]:
    """Return an on-failure destination: the message and the records become an object."""

    def send(message: dict[str, Any], batch: Sequence[Record]) -> None:
        shard = message["KinesisBatchInfo"]["shardId"]
        at = datetime.fromisoformat(message["timestamp"])
        name = f"{at:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
        payload = {
            "Records": [
                {**record, "Data": base64.b64encode(record["Data"]).decode()} for record in batch
            ]
        }
        body = {**message, "payload": json.dumps(payload, default=str)}
        client.put_object(
            Bucket=bucket,
            Key=f"aws/lambda/{mapping_id}/{shard}/{name}",
            Body=json.dumps(body).encode(),
        )

    return send


def _count_that_fit(records: Sequence[Record], most: int) -> int:
    """Count the records that fit into a batch by number and by the size of its event."""
    size = count = 0
    for record in records[:most]:
        size += len(record["Data"]) * 4 // 3 + len(record["PartitionKey"]) + 400
        if size > _PAYLOAD_BYTES and count:
            break
        count += 1
    return count


def _arrival(record: Record) -> float:
    at: datetime = record["ApproximateArrivalTimestamp"]
    return at.timestamp()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
