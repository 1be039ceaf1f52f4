"""Requests to Kinesis and Firehose from several threads, and what became of each."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from oddlot.agent.packing import Entry, to_wire
from oddlot.errors import ConfigError, OddlotError
from oddlot.streams import aws

_JOIN_SECONDS = 1.0
_WRONG = {"ValidationException", "InvalidArgumentException", "SerializationException"}


class Answer(msgspec.Struct, frozen=True):
    """What became of a request.

    Attributes:
        entries: what was sent.
        codes: an error code for each, "" where it was taken; empty if the request failed.
        error: why it failed as a whole; None if it did not.
        is_wrong: whether it can never be taken as it is.
        is_answered: whether there was an answer; if not, it may have been taken.
    """

    entries: list[Entry]
    codes: list[str] = []
    error: OddlotError | None = None
    is_wrong: bool = False
    is_answered: bool = True


class Stream:
    """A stream of records as a place to put them; safe for several threads.

    Args:
        name: of the stream.
        is_firehose: whether it is one of Firehose.
        access: how to reach it.
        settings: for botocore's Config.
    """

    def __init__(
        self, name: str, *, is_firehose: bool, access: aws.Access, settings: dict[str, Any]
    ) -> None:
        self.name = name
        self.is_firehose = is_firehose
        self._access = access
        self._settings = settings
        self._client: Any = None
        self._making = threading.Lock()

    def put(self, entries: list[Entry]) -> Answer:
        """Send entries in one request; never raises what a network or AWS can do."""
        records = [to_wire(entry, is_firehose=self.is_firehose) for entry in entries]
        try:
            client = self._get_client()
            if self.is_firehose:
                said = client.put_record_batch(DeliveryStreamName=self.name, Records=records)
                answers = said["RequestResponses"]
            else:
                said = client.put_records(StreamName=self.name, Records=records)
                answers = said["Records"]
            return Answer(entries, [answer.get("ErrorCode") or "" for answer in answers])
        except Exception as error:  # noqa: BLE001 - refusal() raises again what is a bug
            return self._understand(entries, error)

    def _understand(self, entries: list[Entry], error: Exception) -> Answer:
        refusal = aws.refusal(f"stream {self.name}", error)
        answer = getattr(error, "response", None)
        code = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else ""
        is_login = re.search("Token|Client|Signature|AccessKey|Expired", code)
        if is_login or (not code and isinstance(refusal, ConfigError)):
            # Credentials may have been renewed by then, which a client would not notice.
            with self._making:
                self._client = None
        return Answer(
            entries,
            error=refusal,
            is_wrong=code in _WRONG,
            is_answered=answer is not None,
        )

    def _get_client(self) -> Any:
        with self._making:
            if self._client is None:
                service = "firehose" if self.is_firehose else "kinesis"
                self._client = aws.client(service, self._access, **self._settings)
            return self._client


class Senders:
    """Threads that send; with none of them, the caller's own thread does.

    Args:
        count: of threads, at most; they start when they are needed.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def is_free(self) -> bool:
        """Whether a request would be sent at once."""
        return self._busy < max(1, self._count)

    def send(self, put: Callable[[], None]) -> None:
        """Call `put` soon, in a thread."""
        with self._lock:
            self._busy += 1
        if not self._count:
            self._call(put)
            return
        if len(self._threads) < min(self._busy, self._count):
            # A thread that waits for an answer must not keep the program from ending.
            thread = threading.Thread(target=self._run, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put(put)

    def close(self) -> None:
        """Let the threads end when they are done; waits a moment, as most are."""
        for _ in self._threads:
            self._work.put(None)
        last = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, last - time.monotonic()))

    def _run(self) -> None:
        while (put := self._work.get()) is not None:
            self._call(put)

    def _call(self, put: Callable[[], None]) -> None:
        try:
            put()
        finally:
            with self._lock:
                self._busy -= 1
