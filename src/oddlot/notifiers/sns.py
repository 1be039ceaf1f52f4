"""Alerts as notifications of an SNS topic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from oddlot.errors import OddlotError
from oddlot.notifiers.aws_records import AwsNotifier, Caller, cut
from oddlot.notifiers.contract import SENT, Message, Reply, plain
from oddlot.schema import Alert

_MOST = 10  # messages in a PublishBatch request
_MOST_BYTES = 250_000  # in all of it; SNS takes 262,144 with what it adds
_LONGEST_SUBJECT = 99


class Sns(AwsNotifier, frozen=True, kw_only=True):
    """Alerts as notifications of an SNS topic, each with what filter policies need.

    Message attributes: `type`, `sku`, `id` and the number `severity`. On a FIFO topic the group is
    the SKU and the deduplication id the alert's id. Needs `pip install oddlot[aws]` and the right
    sns:Publish on that topic.
    """

    largest: ClassVar[int] = 100
    is_itemwise: ClassVar[bool] = True

    topic: Annotated[
        str, Meta(pattern=r"\Aarn:", description="ARN of the topic.", extra={"words": "an ARN"})
    ]
    format: Annotated[
        Literal["text", "json"], Meta(description="The sentence, or all of the alert as JSON.")
    ] = "text"

    def open(self) -> Topic:
        """Make ready to send; the first message connects."""
        return Topic(self)


class Topic:
    """Publishes alerts to one topic."""

    def __init__(self, notifier: Sns) -> None:
        self._notifier = notifier
        self._caller = Caller("sns", f"SNS topic {notifier.topic}", notifier.access)

    def send(self, message: Message) -> Sequence[Reply]:
        """Publish what can go out now; see `Sender.send`."""
        entries = [
            self._entry(index, alert, row)
            for index, (alert, row) in enumerate(zip(message.alerts, message.rows, strict=True))
        ]
        replies: list[Reply | None] = [None] * len(entries)
        sizes = [len(msgspec.json.encode(entry)) for entry in entries]
        for request in cut(sizes, _MOST, _MOST_BYTES):
            try:
                answer = self._caller.call(
                    "publish_batch",
                    TopicArn=self._notifier.topic,
                    PublishBatchRequestEntries=[entries[i] for i in request],
                )
            except OddlotError as error:
                if SENT not in replies:
                    raise
                replies = [Reply(str(error)) if one is None else one for one in replies]
                break
            for entry in answer.get("Successful", []):
                replies[int(entry["Id"])] = SENT
            for entry in answer.get("Failed", []):
                text = f"{self._caller.place}: {plain(str(entry.get('Code')), 80)}"
                replies[int(entry["Id"])] = Reply(text, is_final=bool(entry.get("SenderFault")))
        lost = Reply(f"{self._caller.place}: the answer names no result")
        return [lost if reply is None else reply for reply in replies]

    def close(self) -> None:
        """Let go of the connection."""
        self._caller.close()

    def _entry(self, index: int, alert: Alert, row: dict[str, Any]) -> dict[str, Any]:
        severity = alert.severity if math.isfinite(alert.severity) else 0.0
        texts = {"type": alert.detector, "sku": plain(alert.sku, 200) or "-", "id": alert.id}
        entry: dict[str, Any] = {
            "Id": str(index),
            "Subject": _subject(alert.text),
            "Message": plain(alert.text, 4000)
            if self._notifier.format == "text"
            else msgspec.json.encode(row).decode(),
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": text} for name, text in texts.items()
            }
            | {"severity": {"DataType": "Number", "StringValue": f"{severity:.2f}"}},
        }
        if self._notifier.topic.endswith(".fifo"):
            group = "".join(c if c.isascii() and c.isalnum() else "-" for c in alert.sku)[:128]
            entry |= {"MessageGroupId": group or "-", "MessageDeduplicationId": alert.id}
        return entry


def _subject(text: str) -> str:
    """Return a subject as SNS takes it: ASCII, short, beginning with a letter or number."""
    ascii_only = plain(text, 1000).encode("ascii", "ignore").decode()
    first = next((i for i, one in enumerate(ascii_only) if one.isalnum()), len(ascii_only))
    return plain(ascii_only[first:], 1000)[:_LONGEST_SUBJECT].rstrip() or "Oddlot"
