"""A Kinesis that takes everything and keeps nothing: the ceiling of a client.

Run by bench/aws.py in a process of its own, with `lag` to time lines that begin with the
nanosecond at which they were written. GET / tells what came.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from loopback import serving
from loopback.serving import Answer, Request

_JSON = (("Content-Type", "application/x-amz-json-1.1"),)
_TAKEN = {"SequenceNumber": "4" * 56, "ShardId": "shardId-000000000000"}


class Sink:
    """Counts requests, records, bytes and lines; keeps the lag of each line in lag mode."""

    def __init__(self, *, times_lines: bool) -> None:
        self._times_lines = times_lines
        self._lags_ms: list[float] = []
        self._count: dict[str, Any] = {"requests": 0, "records": 0, "bytes": 0, "lines": 0}
        self._answers: dict[int, bytes] = {}

    async def answer(self, request: Request) -> Answer:
        """Take a request."""
        if request.method == "GET":
            return Answer(200, json.dumps(self._tell()).encode())
        action = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if action != "PutRecords":
            return Answer(200, json.dumps(_SHARDS).encode(), _JSON)
        now = time.time_ns()
        entries = json.loads(request.body)["Records"]
        count = self._count
        count.setdefault("first", now / 1e9)
        count["last"] = now / 1e9
        count["requests"] += 1
        count["records"] += len(entries)
        for entry in entries:
            data = base64.b64decode(entry["Data"])
            count["bytes"] += len(data)
            count["lines"] += data.count(b"\n")
            if self._times_lines:
                for line in data.splitlines():
                    self._lags_ms.append((now - int(line.partition(b",")[0])) / 1e6)
        if len(entries) not in self._answers:
            body = {"FailedRecordCount": 0, "Records": [_TAKEN] * len(entries)}
            self._answers[len(entries)] = json.dumps(body).encode()
        return Answer(200, self._answers[len(entries)], _JSON)

    def _tell(self) -> dict[str, Any]:
        lags = sorted(self._lags_ms)
        if not lags:
            return self._count
        places = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        shown = {name: lags[min(len(lags) - 1, int(len(lags) * q))] for name, q in places.items()}
        return {**self._count, "lag_ms": shown}


_SHARDS = {
    "Shards": [
        {
            "ShardId": "shardId-000000000000",
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
            "SequenceNumberRange": {"StartingSequenceNumber": "0"},
        }
    ],
    "StreamDescriptionSummary": {"StreamName": "orders", "StreamStatus": "ACTIVE"},
}


def main() -> None:
    """Serve until standard input ends."""
    sink = Sink(times_lines="lag" in sys.argv[1:])
    with serving.serve(sink.answer) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
