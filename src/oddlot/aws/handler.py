"""The Lambda function: alerts from a stream or from objects become notifications by severity."""

from __future__ import annotations

import base64
import binascii
import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from oddlot.aws.alerts import make_alert, read_alert, read_record
from oddlot.aws.calls import name_error, refusals
from oddlot.aws.dead_letters import DeadLetters
from oddlot.aws.delivery import Delivery, Waiting
from oddlot.aws.journal import Journal
from oddlot.aws.objects import Place, read_place, read_rows
from oddlot.aws.orders import OrderSender
from oddlot.aws.seen import Seen
from oddlot.aws.settings import Settings, read_settings
from oddlot.aws.topics import Publisher
from oddlot.errors import DataError, StreamError

_RESERVE_MS = 8_000  # kept to mark what is out, and to answer
_WITHOUT_CONTEXT_MS = 60_000
_AFTERWARDS_MS = 1_000  # then Lambda has killed it
_OBJECT_ALERTS = 2_000

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    import boto3  # noqa: F401 - while Lambda starts the process it has a whole core, later less


def anomaly_handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Publish the alerts of an event of Kinesis or S3; send the lines of order objects on.

    A record that no retry can help goes to the dead letters and counts as done, so that it holds
    nobody up. One that a retry can help is in `batchItemFailures`; for S3 the call fails.

    Args:
        event: as Lambda hands it in.
        context: Lambda's; None for none.

    Raises:
        ConfigError: the function's environment is wrong.
        StreamError: something of an event of S3 is to be tried again.
    """
    settings = _settings()
    invocation = _Invocation(settings, context)
    try:
        return invocation.run(event)
    finally:
        invocation.journal.finish()


class _Invocation:
    """One call of the function."""

    def __init__(self, settings: Settings, context: Any) -> None:
        self._settings = settings
        self._remaining_ms: Callable[[], int] = (
            getattr(context, "get_remaining_time_in_millis", None) or _without_context()
        )
        request = str(getattr(context, "aws_request_id", "") or f"local-{time.time_ns()}")
        self.journal = Journal(
            settings.function, request, settings.namespace, write=sys.stdout.write
        )
        now_ms = time.time_ns() // 1_000_000
        until_ms = now_ms + self._remaining_ms() + _AFTERWARDS_MS
        self._seen = Seen(*settings.seen, request, now_ms, until_ms) if settings.seen else None
        self._dead_letters = DeadLetters(settings.dead_letters, self.journal)
        self._delivery = Delivery(
            Publisher(settings.topics),
            self._seen,
            self._dead_letters,
            self.journal,
            self._has_time,
        )

    def run(self, event: dict[str, Any]) -> dict[str, Any]:
        records = event.get("Records", [])
        if not records:
            self.journal.say("WARN", "event not known", names=", ".join(event))
        by_source: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            by_source.setdefault(str(record.get("eventSource")), []).append(record)
        failures = self._do_stream(by_source.pop("aws:kinesis", []))
        problems = [self._do_object(record) for record in by_source.pop("aws:s3", [])]
        for source, others in by_source.items():
            self.journal.say("WARN", "event not known", source=source, records=len(others))
        failed = [problem for problem in problems if problem]
        if failed:
            # Whatever went well is known by its ids, and is not done again.
            raise StreamError(failed[0])
        self.journal.say("INFO", "done", **self.journal.counts)
        return {"batchItemFailures": [{"itemIdentifier": number} for number in failures]}

    def _do_stream(self, records: list[dict[str, Any]]) -> list[str]:
        """Publish the alerts of records of a stream; returns the sequence numbers that failed."""
        waiting: list[Waiting] = []
        numbers: dict[str, list[str]] = {}  # by alert
        failures: dict[str, None] = {}
        for record in records:
            number = str(record["kinesis"]["sequenceNumber"])
            place = {"shard": str(record.get("eventID", "")).partition(":")[0]}
            place |= {"stream": str(record.get("eventSourceARN", "")), "sequenceNumber": number}
            data = b""
            try:
                data = base64.b64decode(record["kinesis"]["data"], validate=True)
                alerts, problems = read_record(data)
            except (binascii.Error, TypeError):
                alerts, problems = [], ["the record's data must be base64; got something else"]
            if problems and not self._reject(problems, place, data):
                failures[number] = None
            for alert in alerts:
                numbers.setdefault(alert.id, []).append(number)
                waiting.append(Waiting(alert, place))
        for name in self._delivery.deliver(waiting):
            failures |= dict.fromkeys(numbers[name])
        # Lambda goes back to the lowest; the order is for people.
        return sorted(failures, key=lambda number: (len(number), number))

    def _reject(self, problems: list[str], place: dict[str, str], data: bytes) -> bool:
        reason = (
            problems[0] if len(problems) == 1 else f"{problems[0]}, and {len(problems) - 1} more"
        )
        return self._dead_letters.send(reason, place, data)

    def _do_object(self, record: dict[str, Any]) -> str:
        """Do what an object is for; returns why it is to be tried again, "" if it is not."""
        where: dict[str, object] = {}
        try:
            place = read_place(record)
            where = {"bucket": place.bucket, "key": place.key}
            if place.kind == "alerts":
                return self._publish_object(place)
            if place.kind != "orders":
                raise DataError("an object must lie in a folder named alerts or orders")
            if not self._settings.orders_stream:
                raise DataError("there is no ODDLOT_ORDERS_STREAM to put the lines on")
            OrderSender(
                *(self._settings.orders_stream, self._seen, self._dead_letters),
                *(self.journal, self._has_time),
            ).send(place)
        except DataError as error:
            is_told = self._dead_letters.send(str(error), where, b"")
            return "" if is_told else "dead letters cannot be sent"
        except refusals() as error:
            problem = name_error(error)
            self.journal.say("ERROR", "object not done", problem=problem, **where)
            return f"{where.get('key')}: {problem}"
        return ""

    def _publish_object(self, place: Place) -> str:
        failed: set[str] = set()
        waiting: list[Waiting] = []
        for row in read_rows(place):
            where = {"bucket": place.bucket, "key": place.key, "line": row.number}
            try:
                if row.problem:
                    raise DataError(row.problem)
                alert = (
                    read_alert(row.raw)
                    if row.cells is None
                    else make_alert(row.cells, is_text=True)
                )
            except DataError as error:
                if not self._dead_letters.send(str(error), where, row.raw):
                    return "dead letters cannot be sent"
                continue
            waiting.append(Waiting(alert, where))
            if len(waiting) == _OBJECT_ALERTS:
                failed |= self._delivery.deliver(waiting)
                waiting = []
        failed |= self._delivery.deliver(waiting)
        return f"{place.key}: {len(failed)} alerts are not published" if failed else ""

    def _has_time(self) -> bool:
        return self._remaining_ms() > _RESERVE_MS


@functools.cache
def _settings() -> Settings:
    return read_settings(os.environ)


def _without_context() -> Callable[[], int]:
    began = time.monotonic()
    return lambda: _WITHOUT_CONTEXT_MS - int((time.monotonic() - began) * 1000)
