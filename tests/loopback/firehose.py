"""A twin of Firehose that does what emulators skip: buffers, limits, GZIP, Parquet, prefixes."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loopback import firehose_objects, limits, serving
from loopback.kinesis_proxy import Faults
from loopback.serving import Answer, Request

_RECORD_BYTES = 1_000 << 10
_REQUEST_BYTES = 4 << 20
_RECORDS = 500
# The quota of direct puts in the larger regions, a second.
_REQUESTS_A_SECOND = 2_000
_BYTES_A_SECOND = 5 << 20
_RECORDS_A_SECOND = 500_000
_SLOW_DOWN = "ServiceUnavailableException", "Slow down."
_DEFAULT_BUFFER = {"SizeInMBs": 5, "IntervalInSeconds": 300}
_EVERY_SECONDS = 0.05


@dataclass
class _Stream:
    """A delivery stream and what waits in it."""

    name: str
    destination: dict[str, Any]
    requests: limits.Bucket
    bytes_in: limits.Bucket
    records_in: limits.Bucket
    waiting: list[firehose_objects.Record] = field(default_factory=list)
    size: int = 0


class Firehose:
    """The twin; it writes into an S3 server.

    `counts` has calls by action, `accepted`, `throttled` and `failed` entries, `lost_replies`,
    `objects` and `delivered` records, `conversion_failed` records, `delivery_failures` (tries).

    Args:
        s3: a client of the server that takes the objects.
        columns_of: finds the columns of a Glue table (database, table) for a stream that converts
            to Parquet: names and Hive types.
        clock: Unix time in seconds.
        seed: of the faults and of the names of objects.
    """

    def __init__(
        self,
        s3: Any,
        *,
        columns_of: Callable[[str, str], list[tuple[str, str]]] | None = None,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
    ) -> None:
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self._s3 = s3
        self._columns_of = columns_of
        self._clock = clock
        self._chance = random.Random(seed)
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.RLock()

    @contextmanager
    def serve(self, port: int = 0, *, every: float | None = _EVERY_SECONDS) -> Iterator[str]:
        """Serve while the context lasts, and deliver what is left when it ends.

        Args:
            port: 0 takes a free one.
            every: seconds between two looks for due buffers; None: only `deliver_due` delivers.
        """
        stop = threading.Event()

        def deliver() -> None:
            while not stop.wait(every):
                self.deliver_due()

        thread = threading.Thread(target=deliver, daemon=True)
        with serving.serve(self._answer, port) as url:
            if every is not None:
                thread.start()
            try:
                yield url
            finally:
                stop.set()
                if every is not None:
                    thread.join()
        self.deliver_due(everything=True)

    def deliver_due(self, *, everything: bool = False) -> None:
        """Write the buffers that are full or old enough; a failed write is tried again later."""
        for stream in list(self._streams.values()):
            with self._lock:
                hints = {**_DEFAULT_BUFFER, **stream.destination.get("BufferingHints", {})}
                if not stream.waiting:
                    continue
                is_old = self._clock() - stream.waiting[0].arrived >= hints["IntervalInSeconds"]
                if not (everything or is_old or stream.size >= hints["SizeInMBs"] << 20):
                    continue
                records, stream.waiting, stream.size = stream.waiting, [], 0
            if not self._deliver(stream, records):
                with self._lock:
                    stream.waiting = records + stream.waiting
                    stream.size = sum(len(one.data) for one in stream.waiting)

    async def _answer(self, request: Request) -> Answer | None:
        action = request.headers.get("x-amz-target", "").rpartition(".")[2]
        self.counts[action] += 1
        if self.faults.delay_seconds:
            await asyncio.sleep(self.faults.delay_seconds)
        if action in self.faults.refused:
            return _refusal(400, *self.faults.refused[action])
        if self._happens(self.faults.unavailable):
            return _refusal(503, *_SLOW_DOWN)
        body = json.loads(request.body or b"{}")
        name = body.get("DeliveryStreamName", "")
        if action == "CreateDeliveryStream":
            return self._create(name, body)
        if action == "ListDeliveryStreams":
            return _ok({"DeliveryStreamNames": [*self._streams], "HasMoreDeliveryStreams": False})
        stream = self._streams.get(name)
        if stream is None:
            text = f"Firehose {name} under account 000000000000 not found."
            return _refusal(400, "ResourceNotFoundException", text)
        match action:
            case "DescribeDeliveryStream":
                return _ok({"DeliveryStreamDescription": _describe(stream)})
            case "DeleteDeliveryStream":
                del self._streams[name]
                return _ok({})
            case "PutRecord":
                return self._put(stream, [body["Record"]], is_batch=False)
            case "PutRecordBatch":
                return self._put(stream, body["Records"], is_batch=True)
        return _refusal(400, "UnknownOperationException", f"the twin has no {action}")

    def _create(self, name: str, body: dict[str, Any]) -> Answer:
        destination = body.get("ExtendedS3DestinationConfiguration")
        if destination is None:
            return _refusal(400, "InvalidArgumentException", "the twin writes to S3 only")
        if name in self._streams:
            return _refusal(400, "ResourceInUseException", f"Firehose {name} already exists.")
        if wrong := firehose_objects.find_wrong(destination):
            return _refusal(400, "InvalidArgumentException", wrong)
        self._streams[name] = _Stream(
            name,
            destination,
            limits.Bucket(_REQUESTS_A_SECOND, self._clock),
            limits.Bucket(_BYTES_A_SECOND, self._clock),
            limits.Bucket(_RECORDS_A_SECOND, self._clock),
        )
        return _ok({"DeliveryStreamARN": _arn(name)})

    def _put(
        self, stream: _Stream, entries: list[dict[str, str]], *, is_batch: bool
    ) -> Answer | None:
        data = [base64.b64decode(entry["Data"]) for entry in entries]
        if wrong := _find_wrong(data):
            return _refusal(
                400, "InvalidArgumentException" if is_batch else "ValidationException", wrong
            )
        if self.faults.limited and stream.requests.left() < 1:
            return _refusal(503, *_SLOW_DOWN)
        stream.requests.charge(1)
        results = [self._take(stream, one) for one in data]
        if self._happens(self.faults.lost_replies):
            self.counts["lost_replies"] += 1
            return None
        if is_batch:
            failed = sum("ErrorCode" in result for result in results)
            return _ok({"FailedPutCount": failed, "Encrypted": False, "RequestResponses": results})
        if "ErrorCode" in results[0]:
            return _refusal(503, results[0]["ErrorCode"], results[0]["ErrorMessage"])
        return _ok({**results[0], "Encrypted": False})

    def _take(self, stream: _Stream, data: bytes) -> dict[str, str]:
        size = len(data)
        if self.faults.limited and (stream.bytes_in.left() < size or stream.records_in.left() < 1):
            self.counts["throttled"] += 1
            return dict(zip(("ErrorCode", "ErrorMessage"), _SLOW_DOWN, strict=True))
        if self._happens(self.faults.internal_failures):
            self.counts["failed"] += 1
            return {"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."}
        stream.bytes_in.charge(size)
        stream.records_in.charge(1)
        with self._lock:
            stream.waiting.append(firehose_objects.Record(data, self._clock()))
            stream.size += size
        self.counts["accepted"] += 1
        return {"RecordId": uuid.uuid4().hex}

    def _deliver(self, stream: _Stream, records: list[firehose_objects.Record]) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        destination = stream.destination
        converts = destination.get("DataFormatConversionConfiguration", {})
        failed: list[firehose_objects.Failure] = []
        if converts.get("Enabled"):
            schema = converts["SchemaConfiguration"]
            if self._columns_of is None:
                raise ValueError("a stream that converts needs columns_of")
            columns = self._columns_of(schema["DatabaseName"], schema["TableName"])
            body, failed = firehose_objects.to_parquet(records, columns)
            extension = ".parquet"
        else:
            body = firehose_objects.join(records, destination)
            is_packed = destination.get("CompressionFormat") == "GZIP"
            extension = ".gz" if is_packed else ""
            if is_packed:
                body = gzip.compress(body, 6)
        name = firehose_objects.Name(
            stream.name, records[0].arrived, f"{self._chance.getrandbits(128):032x}"
        )
        extension = destination.get("FileExtension") or extension
        written = {name.under(destination.get("Prefix", ""), destination, extension): body}
        if len(failed) == len(records):
            written = {}
        if failed:
            key = name.under_errors(destination, "format-conversion-failed")
            written[key] = firehose_objects.describe_failures(failed, converts, self._clock())
        bucket = destination["BucketARN"].rpartition(":")[2]
        try:
            for key, content in written.items():
                self._s3.put_object(Bucket=bucket, Key=key, Body=content)
        except (BotoCoreError, ClientError):
            self.counts["delivery_failures"] += 1
            return False
        self.counts["objects"] += len(written)
        self.counts["delivered"] += len(records) - len(failed)
        self.counts["conversion_failed"] += len(failed)
        return True

    def _happens(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share


def _find_wrong(data: list[bytes]) -> str:
    if not 0 < len(data) <= _RECORDS:
        return f"Member must have length less than or equal to {_RECORDS}"
    if any(len(one) > _RECORD_BYTES for one in data):
        return f"Record size must be at most {_RECORD_BYTES} bytes"
    if sum(map(len, data)) > _REQUEST_BYTES:
        return "Records size exceeds 4 MB limit"
    return ""


def _describe(stream: _Stream) -> dict[str, Any]:
    return {
        "DeliveryStreamName": stream.name,
        "DeliveryStreamARN": _arn(stream.name),
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "VersionId": "1",
        "HasMoreDestinations": False,
        "Destinations": [
            {
                "DestinationId": "destinationId-000000000001",
                "ExtendedS3DestinationDescription": stream.destination,
            }
        ],
    }


def _arn(name: str) -> str:
    return f"arn:aws:firehose:us-east-1:000000000000:deliverystream/{name}"


def _ok(body: dict[str, Any]) -> Answer:
    return Answer(200, json.dumps(body).encode(), _HEADERS)


def _refusal(status: int, code: str, text: str) -> Answer:
    body = {"__type": code, "message": text}
    return Answer(status, json.dumps(body).encode(), _HEADERS)


_HEADERS = (("Content-Type", "application/x-amz-json-1.1"),)
