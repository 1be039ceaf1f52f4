"""The lines of an order object on the stream of orders, in order, and if possible once."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator

from oddlot.aws.calls import client
from oddlot.aws.dead_letters import DeadLetters
from oddlot.aws.journal import Journal
from oddlot.aws.objects import Place, Row, read_rows
from oddlot.aws.seen import Seen
from oddlot.errors import StreamError

_BLOCK_BYTES = 200_000  # of a record, many lines with a newline between
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0
_PASSING = {
    *("ProvisionedThroughputExceededException", "InternalFailure", "ThrottlingException"),
    *("ServiceUnavailable", "KMSThrottlingException", "LimitExceededException"),
}


class OrderSender:
    """Sends order objects.

    All lines of an object go to one shard, one record after the other, so that they stay in
    order; a record holds many lines. How many records are out is noted, and a second try goes on
    from there. After a lost answer one record comes twice. Each line has a `recordId`, the same
    every time, by which the engine drops what it has seen: `[columns] event = "recordId"`.

    Args:
        stream: its name.
        seen: where it is noted how far an object is; None where nowhere.
        dead_letters: for rows that are none.
        journal: log and counts.
        has_time: tells whether there is time for another call.
        sleep_s: waits when the shard is full.
    """

    def __init__(
        self,
        stream: str,
        seen: Seen | None,
        dead_letters: DeadLetters,
        journal: Journal,
        has_time: Callable[[], bool],
        *,
        sleep_s: Callable[[float], object] = time.sleep,
    ) -> None:
        self._stream = stream
        self._seen = seen
        self._dead_letters = dead_letters
        self._journal = journal
        self._has_time = has_time
        self._sleep_s = sleep_s

    def send(self, place: Place) -> None:
        """Send the lines of an object.

        Raises:
            StreamError: not all are out; the next try goes on behind those that are.
            DataError: the object is neither JSON Lines nor CSV.
            Exception: of boto3.
        """
        name = hashlib.sha256(repr(place[:3]).encode()).hexdigest()[:32]
        note = f"orders-{name}"
        sent = int(self._seen.read(note).get("records", 0)) if self._seen else 0
        for number, (block, lines) in enumerate(self._pack(place, name, sent)):
            if number < sent:
                self._journal.counts["OrderLinesRepeated"] += lines
                continue
            self._put(block, name, place)
            self._journal.counts["OrderLines"] += lines
            if self._seen:
                self._seen.write(note, {"records": number + 1, "key": place.key})

    def _pack(self, place: Place, name: str, sent: int) -> Iterator[tuple[bytes, int]]:
        """Yield records and the lines in each; the same for the same object every time."""
        block: list[bytes] = []
        size = number = 0
        for row in read_rows(place):
            line = _encode(row, name)
            if not line:
                if number >= sent:  # told already, otherwise
                    where = {"bucket": place.bucket, "key": place.key, "line": row.number}
                    if not self._dead_letters.send(row.problem, where, row.raw):
                        raise StreamError("dead letters cannot be sent")
                continue
            if block and size + len(line) + 1 > _BLOCK_BYTES:
                yield b"\n".join(block), len(block)
                block, size, number = [], 0, number + 1
            block.append(line)
            size += len(line) + 1
        if block:
            yield b"\n".join(block), len(block)

    def _put(self, block: bytes, key: str, place: Place) -> None:
        """Put one record a call: those of a call may fail in part, and change places."""
        pause_s = _PAUSE_S
        problem = ""
        while self._has_time():
            answer = client("kinesis").put_records(
                StreamName=self._stream, Records=[{"Data": block, "PartitionKey": key}]
            )
            problem = str(answer["Records"][0].get("ErrorCode") or "")
            if not problem:
                return
            if problem not in _PASSING:
                break
            self._sleep_s(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._journal.say(
            *("WARN", "order object not finished"),
            problem=problem or "no time is left",
            key=place.key,
        )
        raise StreamError(f"{self._stream}: not all lines are out: {problem or 'no time is left'}")


def _encode(row: Row, name: str) -> bytes:
    """Return a row as a line of JSON with a `recordId`; empty where it is none."""
    if row.problem:
        return b""
    known = f"{name}:{row.number}"
    if row.cells is not None:
        cells = {**row.cells, "recordId": row.cells.get("recordId", known)}
        return json.dumps(cells, ensure_ascii=False, separators=(",", ":")).encode()
    line = row.raw.strip()
    if b'"recordId"' in line or not line.endswith(b"}"):
        return line  # one that is no object is a reject of the engine's
    inside = line[1:-1].strip()
    return line[:-1].rstrip() + (b"," if inside else b"") + f'"recordId":"{known}"}}'.encode()
