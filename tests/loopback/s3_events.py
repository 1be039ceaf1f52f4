"""Tells a function of new S3 objects, with Amazon's event, from looking at the bucket."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote_plus

from loopback.runtime_api import Result
from loopback.servers import REGION

_RETRIES = 2  # of an asynchronous invocation


class S3Events:
    """A bucket's notification to a function; SeaweedFS has none of its own.

    An invocation that fails is tried twice more, then it is given up, as Lambda does with an
    asynchronous one. `counts` has `invocations`, `objects`, `given_up`.

    Args:
        bucket: its name.
        client: of S3.
        invoke: calls the function.
        prefix, suffix: of the keys that count.
        sleep: waits between retries.
    """

    def __init__(
        self,
        bucket: str,
        client: Any,
        invoke: Callable[[object], Result],
        *,
        prefix: str = "",
        suffix: str = "",
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.given_up: list[dict[str, Any]] = []
        self._bucket = bucket
        self._client = client
        self._invoke = invoke
        self._prefix = prefix
        self._suffix = suffix
        self._stop = threading.Event()
        self._sleep = sleep or self._stop.wait
        self._seen: dict[str, tuple[str, datetime]] = {}
        self._number = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def tell(self) -> int:
        """Look once, invoke once for each object that is new or changed; returns how many."""
        pages = self._client.get_paginator("list_objects_v2")
        told = 0
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
            for one in page.get("Contents", []):
                now = one["ETag"], one["LastModified"]
                if not one["Key"].endswith(self._suffix) or self._seen.get(one["Key"]) == now:
                    continue
                self._seen[one["Key"]] = now
                self._tell(self._event(one))
                told += 1
        self.counts["objects"] += told
        return told

    def _tell(self, event: dict[str, Any]) -> None:
        for attempt in range(1 + _RETRIES):
            if attempt:
                self._sleep(attempt * 60.0)
            self.counts["invocations"] += 1
            if not self._invoke(event).error:
                return
        self.counts["given_up"] += 1
        self.given_up.append(event)

    def _event(self, one: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        return {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "awsRegion": REGION,
                    "eventTime": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
                    "eventName": "ObjectCreated:Put",
                    "userIdentity": {"principalId": "AWS:loopback"},
                    "requestParameters": {"sourceIPAddress": "127.0.0.1"},
                    "responseElements": {"x-amz-request-id": f"{self._number:016X}"},
                    "s3": {
                        "s3SchemaVersion": "1.0",
                        "configurationId": "loopback",
                        "bucket": {
                            "name": self._bucket,
                            "ownerIdentity": {"principalId": "loopback"},
                            "arn": f"arn:aws:s3:::{self._bucket}",
                        },
                        "object": {
                            "key": quote_plus(one["Key"], safe="/"),
                            "size": one["Size"],
                            "eTag": one["ETag"].strip('"'),
                            "sequencer": f"{time.time_ns():016X}",
                        },
                    },
                }
            ]
        }

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self.tell()
