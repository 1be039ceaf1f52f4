"""Stands before a Kinesis server with Amazon's limits, and with faults that a test chooses."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from loopback import limits, serving
from loopback.serving import Answer, Request

_ACCOUNT = "000000000000"
_JSON = "application/x-amz-json-1.1"
_FRESH_SECONDS = 1.0
_IDLE_SECONDS = 2.0
_RESHARDING = {"SplitShard", "MergeShards", "UpdateShardCount", "CreateStream", "DeleteStream"}
_RESHARDING |= {"UpdateMaxRecordSize"}
_ITERATORS = 100_000


@dataclass
class Faults:
    """What goes wrong. Shares are from 0 to 1; all may be changed while the proxy runs."""

    internal_failures: float = 0.0  # of the entries of PutRecords: not written, InternalFailure
    unavailable: float = 0.0  # of the calls: 503 before anything is done
    lost_replies: float = 0.0  # of the writes: done, then the connection is closed
    expired_iterators: float = 0.0  # of the calls of GetRecords: ExpiredIteratorException
    throttled_shards: set[str] = field(default_factory=set)  # these take no record at all
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)  # action: (error, message)
    delay_seconds: float = 0.0  # before each answer
    limited: bool = True  # Amazon's limits hold

    def clear(self) -> None:
        """Let everything go well again."""
        for one, value in zip(fields(self), vars(Faults()).values(), strict=True):
            setattr(self, one.name, value)


class _Stream(NamedTuple):
    asked: float
    shards: list[tuple[int, int, str]]  # first and last hash key, id: open shards only
    record_bytes: int


class KinesisProxy:
    """The proxy; `counts` says what it did.

    Counted: calls by action, `written` and `read` records, `throttled`, `failed` (InternalFailure)
    and `too_large` entries, `throttled_reads`, `lost_replies` and `written_unseen` (the records in
    them), `unavailable`, `expired_iterators`, and `passed_through` (CBOR: no limit, no fault).
    """

    def __init__(
        self,
        behind: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        seed: int = 0,
    ) -> None:
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self._behind = urlsplit(behind)
        self._clock = clock
        self._chance = random.Random(seed)
        self._limits: dict[tuple[str, str], limits.Shard] = {}
        self._streams: dict[str, _Stream] = {}
        self._iterators: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Serve while the context lasts; yields the address."""
        with serving.serve(self._answer, port, self._disconnect) as url:
            yield url

    def _disconnect(self) -> None:
        for _, _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _answer(self, request: Request) -> Answer | None:
        action = request.headers.get("x-amz-target", "").rpartition(".")[2]
        self.counts[action or request.method] += 1
        if self.faults.delay_seconds:
            await asyncio.sleep(self.faults.delay_seconds)
        if not action or "json" not in request.headers.get("content-type", ""):
            self.counts["passed_through"] += 1
            return await self._forward(request)
        if action in self.faults.refused:
            return _refusal(400, *self.faults.refused[action])
        if self._happens(self.faults.unavailable):
            self.counts["unavailable"] += 1
            return _refusal(503, "ServiceUnavailable", "Service is unable to handle request.")
        body = json.loads(request.body or b"{}")
        match action:
            case "PutRecords":
                return await self._put_records(request, body)
            case "PutRecord":
                return await self._put_record(request, body)
            case "GetShardIterator":
                return await self._get_iterator(request, body)
            case "GetRecords":
                return await self._get_records(request, body)
        answer = await self._forward(request)
        if action in _RESHARDING:
            self._streams.clear()
        return answer

    async def _put_records(self, request: Request, body: dict[str, Any]) -> Answer | None:
        records, name = body.get("Records", []), _stream_name(body)
        sizes = [_size(record) for record in records]
        stream = await self._stream(name, request)
        if stream is None:
            return await self._forward(request)
        if self.faults.limited:
            if wrong := _find_wrong(records, sizes, stream.record_bytes):
                self.counts["too_large"] += 1
                return _refusal(400, *wrong)
        results: list[dict[str, Any] | None] = [
            self._judge(name, stream, record, size)
            for record, size in zip(records, sizes, strict=True)
        ]
        kept = [place for place, result in enumerate(results) if result is None]
        if kept:
            sent = {**body, "Records": [records[place] for place in kept]}
            answer = await self._forward(request, json.dumps(sent).encode())
            if answer.status != 200:
                return answer
            # The server says `"ErrorCode": null` of a success, Amazon says nothing.
            written = [_drop_nulls(result) for result in json.loads(answer.body)["Records"]]
            for place, result in zip(kept, written, strict=True):
                results[place] = result
            self.counts["written"] += sum("SequenceNumber" in result for result in written)
            if self._loses_reply(len(written)):
                return None
        failed = sum("ErrorCode" in result for result in results if result)
        return _ok({"FailedRecordCount": failed, "Records": results, "EncryptionType": "NONE"})

    async def _put_record(self, request: Request, body: dict[str, Any]) -> Answer | None:
        name, size = _stream_name(body), _size(body)
        stream = await self._stream(name, request)
        if stream is not None:
            if self.faults.limited and (wrong := _find_wrong([body], [size], stream.record_bytes)):
                self.counts["too_large"] += 1
                return _refusal(400, *wrong)
            if result := self._judge(name, stream, body, size):
                status = 500 if result["ErrorCode"] == "InternalFailure" else 400
                return _refusal(status, result["ErrorCode"], result["ErrorMessage"])
        answer = await self._forward(request)
        if answer.status == 200:
            self.counts["written"] += 1
            if self._loses_reply(1):
                return None
        return answer

    async def _get_iterator(self, request: Request, body: dict[str, Any]) -> Answer:
        answer = await self._forward(request)
        if answer.status == 200:
            iterator = json.loads(answer.body)["ShardIterator"]
            self._remember(iterator, (_stream_name(body), body["ShardId"]))
        return answer

    async def _get_records(self, request: Request, body: dict[str, Any]) -> Answer:
        iterator = body.get("ShardIterator", "")
        if self._happens(self.faults.expired_iterators):
            self.counts["expired_iterators"] += 1
            text = "Iterator expired. The iterator was created at time long ago."
            return _refusal(400, "ExpiredIteratorException", text)
        place = self._iterators.get(iterator)
        shard = self._shard(*place) if place else None
        if shard and self.faults.limited and not shard.admits_read():
            self.counts["throttled_reads"] += 1
            text = f"Rate exceeded for shard {place[1] if place else ''}"
            return _refusal(400, "ProvisionedThroughputExceededException", text)
        answer = await self._forward(request)
        if answer.status == 200:
            got = json.loads(answer.body)
            self.counts["read"] += len(got["Records"])
            if place and got.get("NextShardIterator"):
                self._remember(got["NextShardIterator"], place)
            if shard:
                shard.has_read(sum(len(record["Data"]) * 3 // 4 for record in got["Records"]))
        return answer

    def _judge(
        self, name: str, stream: _Stream, record: dict[str, Any], size: int
    ) -> dict[str, Any] | None:
        """Return the error that a record gets, or None where it may be written."""
        shard = _route(stream.shards, record)
        if shard in self.faults.throttled_shards or (
            self.faults.limited and not self._shard(name, shard).admits_write(size)
        ):
            self.counts["throttled"] += 1
            text = f"Rate exceeded for shard {shard} in stream {name} under account {_ACCOUNT}."
            return {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": text}
        if self._happens(self.faults.internal_failures):
            self.counts["failed"] += 1
            return {"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."}
        return None

    def _loses_reply(self, records: int) -> bool:
        if not self._happens(self.faults.lost_replies):
            return False
        self.counts["lost_replies"] += 1
        self.counts["written_unseen"] += records
        return True

    def _happens(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share

    def _shard(self, stream: str, shard: str) -> limits.Shard:
        if (stream, shard) not in self._limits:
            self._limits[stream, shard] = limits.Shard(self._clock)
        return self._limits[stream, shard]

    def _remember(self, iterator: str, place: tuple[str, str]) -> None:
        self._iterators[iterator] = place
        if len(self._iterators) > _ITERATORS:
            self._iterators.popitem(last=False)

    async def _stream(self, name: str, request: Request) -> _Stream | None:
        """Look up a stream's open shards; None where the server does not know it."""
        known = self._streams.get(name)
        # Its own clock: a test's may stand still.
        if known and time.monotonic() - known.asked < _FRESH_SECONDS:
            return known
        listed = await self._ask(request, "ListShards", {"StreamName": name})
        summary = await self._ask(request, "DescribeStreamSummary", {"StreamName": name})
        if listed is None or summary is None:
            return None
        about = summary["StreamDescriptionSummary"]
        record_bytes = (about.get("MaxRecordSizeInKiB") or limits.RECORD_BYTES >> 10) << 10
        shards = [
            (int(one["StartingHashKey"]), int(one["EndingHashKey"]), shard["ShardId"])
            for shard in listed["Shards"]
            if shard["SequenceNumberRange"].get("EndingSequenceNumber") is None
            for one in (shard["HashKeyRange"],)
        ]
        self._streams[name] = _Stream(time.monotonic(), shards, record_bytes)
        return self._streams[name]

    async def _ask(self, like: Request, action: str, body: dict[str, Any]) -> Any:
        headers = {**like.headers, "x-amz-target": f"Kinesis_20131202.{action}"}
        asked = like._replace(headers=headers)
        answer = await self._forward(asked, json.dumps(body).encode())
        return json.loads(answer.body) if answer.status == 200 else None

    async def _forward(self, request: Request, body: bytes | None = None) -> Answer:
        body = request.body if body is None else body
        headers = dict(request.headers)
        for name in ("connection", "expect", "transfer-encoding"):
            headers.pop(name, None)
        headers["content-length"] = str(len(body))
        lines = [f"{request.method} {request.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        reader, writer = await self._connect()
        writer.write(head + body)
        await writer.drain()
        first, *got = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answered = serving.read_headers(got)
        if answered.get("transfer-encoding", "").lower() == "chunked":
            content = await serving.read_chunks(reader)
        else:
            content = await reader.readexactly(int(answered.get("content-length", "0")))
        if answered.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append((time.monotonic(), reader, writer))
        kept = [(name, answered[name]) for name in _KEPT if name in answered]
        return Answer(int(first.split(" ")[1]), content, tuple(kept))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            since, reader, writer = self._idle.pop()
            # Node closes a connection after five idle seconds, maybe just as we write to it.
            is_young = time.monotonic() - since < _IDLE_SECONDS
            if is_young and not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        host, port = self._behind.hostname, self._behind.port
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        serving.no_delay(writer)
        return reader, writer


_KEPT = ("content-type", "x-amzn-requestid", "x-amz-id-2", "x-amzn-errortype")


def _stream_name(body: dict[str, Any]) -> str:
    arn: str = body.get("StreamARN", "")
    return str(body.get("StreamName") or arn.rpartition("/")[2])


def _size(record: dict[str, Any]) -> int:
    """Count what Amazon counts: the data, decoded, and the partition key."""
    data: str = record.get("Data", "")
    return len(data) * 3 // 4 - data[-2:].count("=") + len(record.get("PartitionKey", "").encode())


def _drop_nulls(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if value is not None}


def _find_wrong(
    records: list[dict[str, Any]], sizes: list[int], record_bytes: int
) -> tuple[str, str] | None:
    if len(records) > limits.RECORDS_A_REQUEST:
        return _invalid("records", f"length less than or equal to {limits.RECORDS_A_REQUEST}")
    for place, (record, size) in enumerate(zip(records, sizes, strict=True), 1):
        if size > record_bytes:
            return _invalid(
                f"records.{place}.member.data", f"length less than or equal to {record_bytes}"
            )
        if not 0 < len(record.get("PartitionKey", "")) <= limits.KEY_CHARACTERS:
            return _invalid(
                f"records.{place}.member.partitionKey",
                f"length between 1 and {limits.KEY_CHARACTERS}",
            )
    if sum(sizes) > limits.REQUEST_BYTES:
        return "InvalidArgumentException", "Records size exceeds 10 MB limit"
    return None


def _invalid(place: str, constraint: str) -> tuple[str, str]:
    text = f"1 validation error detected: Value at '{place}' failed to satisfy constraint: "
    return "ValidationException", f"{text}Member must have {constraint}"


def _route(shards: list[tuple[int, int, str]], record: dict[str, Any]) -> str:
    explicit = record.get("ExplicitHashKey")
    if explicit is None:
        digest = hashlib.md5(record["PartitionKey"].encode(), usedforsecurity=False).digest()
        key = int.from_bytes(digest, "big")
    else:
        key = int(explicit)
    return next(name for first, last, name in shards if first <= key <= last)


def _ok(body: dict[str, Any]) -> Answer:
    return Answer(200, json.dumps(body).encode(), _headers())


def _refusal(status: int, code: str, text: str) -> Answer:
    body = {"__type": code, "message": text}
    return Answer(status, json.dumps(body).encode(), _headers())


def _headers() -> tuple[tuple[str, str], ...]:
    return (("Content-Type", _JSON), ("x-amzn-RequestId", str(uuid.uuid4())))
