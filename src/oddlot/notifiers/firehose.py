"""Alerts as records of a Firehose delivery stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec import Meta

from oddlot.errors import OddlotError
from oddlot.notifiers.aws_records import (
    MOST_BYTES,
    AwsNotifier,
    Caller,
    Format,
    cut,
    encode_all,
    read_entry,
)
from oddlot.notifiers.contract import SENT, Message, Reply

_MOST = 500  # records in a PutRecordBatch request
_LONGEST = 1000 << 10  # bytes of a record


class Firehose(AwsNotifier, frozen=True, kw_only=True):
    """Alerts as records of a Firehose delivery stream, one alert a line of its objects.

    Firehose itself keeps no order. After a lost answer an alert may come twice; the field `id`
    tells. Needs `pip install oddlot[aws]` and the right firehose:PutRecordBatch on that stream.
    """

    largest: ClassVar[int] = _MOST
    is_itemwise: ClassVar[bool] = True

    stream: Annotated[str, Meta(min_length=1, description="Name of the delivery stream.")]
    format: Format = "json"

    def open(self) -> Batches:
        """Make ready to send; the first message connects."""
        return Batches(self)


class Batches:
    """Puts alerts on one delivery stream."""

    def __init__(self, notifier: Firehose) -> None:
        self._notifier = notifier
        self._caller = Caller("firehose", f"Firehose stream {notifier.stream}", notifier.access)

    def send(self, message: Message) -> Sequence[Reply]:
        """Put what can go out now; see `Sender.send`."""
        records = encode_all(message, self._notifier.format)
        replies: list[Reply | None] = [
            Reply("the alert is longer than a record may be", is_final=True)
            if len(record) > _LONGEST
            else None
            for record in records
        ]
        fitting = [index for index, reply in enumerate(replies) if reply is None]
        for request in cut([len(records[i]) for i in fitting], _MOST, MOST_BYTES):
            indices = [fitting[i] for i in request]
            try:
                answer = self._caller.call(
                    "put_record_batch",
                    DeliveryStreamName=self._notifier.stream,
                    Records=[{"Data": records[i]} for i in indices],
                )
            except OddlotError as error:
                if SENT not in replies:
                    raise
                replies = [Reply(str(error)) if one is None else one for one in replies]
                break
            for index, entry in zip(indices, answer["RequestResponses"], strict=True):
                replies[index] = read_entry(self._caller.place, entry, "ErrorCode", "ErrorMessage")
        return [reply for reply in replies if reply is not None]

    def close(self) -> None:
        """Let go of the connection."""
        self._caller.close()
