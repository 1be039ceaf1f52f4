"""Alerts as records on a Kinesis stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

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

_MOST = 500  # records in a PutRecords request
_LONGEST = 1 << 20  # bytes of a record with its key
_BEHIND = Reply("an alert before it with the same key did not go out")


class Kinesis(AwsNotifier, frozen=True, kw_only=True):
    """Alerts as records on a Kinesis stream, one alert a record.

    The alerts of one key arrive in order: while one of them is refused, those behind it wait.
    After a lost answer they may come twice; the field `id` tells. Needs `pip install oddlot[aws]`
    and the right kinesis:PutRecords on that stream.
    """

    largest: ClassVar[int] = _MOST
    is_itemwise: ClassVar[bool] = True
    is_ordered: ClassVar[bool] = True

    stream: Annotated[str, Meta(min_length=1, description="Name or ARN of the stream.")]
    key: Annotated[
        Literal["sku", "id", "type"],
        Meta(description="What chooses the shard: alerts of one key stay in order."),
    ] = "sku"
    format: Format = "json"

    def open(self) -> Records:
        """Make ready to send; the first message connects."""
        return Records(self)


class Records:
    """Puts alerts on one stream."""

    def __init__(self, notifier: Kinesis) -> None:
        self._notifier = notifier
        self._caller = Caller("kinesis", f"Kinesis stream {notifier.stream}", notifier.access)
        is_arn = notifier.stream.startswith("arn:")
        self._target = {"StreamARN" if is_arn else "StreamName": notifier.stream}

    def send(self, message: Message) -> Sequence[Reply]:
        """Put what can go out now; see `Sender.send`."""
        records = encode_all(message, self._notifier.format)
        keys = [str(row[self._notifier.key])[:256] or "-" for row in message.rows]
        replies: list[Reply | None] = [None] * len(records)
        for index, (key, record) in enumerate(zip(keys, records, strict=True)):
            if len(record) + len(key.encode()) > _LONGEST:
                replies[index] = Reply("the alert is longer than a record may be", is_final=True)
        while None in replies:
            failed = {
                keys[index]
                for index, reply in enumerate(replies)
                if reply is not None and reply.error and not reply.is_final
            }
            chosen: dict[str, int] = {}
            for index, reply in enumerate(replies):
                if reply is None and keys[index] in failed:
                    replies[index] = _BEHIND
                elif reply is None:
                    chosen.setdefault(keys[index], index)
            self._put(list(chosen.values()), keys, records, replies)
        return [reply for reply in replies if reply is not None]

    def close(self) -> None:
        """Let go of the connection."""
        self._caller.close()

    def _put(
        self,
        chosen: list[int],
        keys: list[str],
        records: list[bytes],
        replies: list[Reply | None],
    ) -> None:
        """Put at most one record of each key, and write down the replies in place."""
        for request in cut([len(records[i]) for i in chosen], _MOST, MOST_BYTES):
            indices = [chosen[i] for i in request]
            try:
                answer = self._caller.call(
                    "put_records",
                    Records=[{"Data": records[i], "PartitionKey": keys[i]} for i in indices],
                    **self._target,
                )
            except OddlotError as error:
                if SENT not in replies:
                    raise
                # Some of the message is out: what follows waits, and is no failure of those.
                for index, reply in enumerate(replies):
                    replies[index] = Reply(str(error)) if reply is None else reply
                return
            for index, entry in zip(indices, answer["Records"], strict=True):
                replies[index] = read_entry(self._caller.place, entry, "ErrorCode", "ErrorMessage")
