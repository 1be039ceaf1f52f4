"""What is known of each shard of a stream, and its records as lines of text."""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from oddlot.streams.aws import Access
from oddlot.streams.chunks import Chunk
from oddlot.streams.kpl import is_packed, unpack

# A quoted field as RFC 4180 has it; a quote that is left is one that could swallow what follows.
_QUOTED = re.compile(rb'(?:(?<=[,;\t|\n])|\A)"(?:[^"]|"")*"(?=[,;\t|\r\n]|\Z)')


class Start(NamedTuple):
    """Where to begin in a shard that was never read: an iterator type, and its time."""

    kind: str
    time_us: int


class Place(msgspec.Struct, frozen=True):
    """What the reader must know of the stream.

    Attributes:
        name: of the stream.
        which: what calls must be told of it.
        access: where it is, and who reads it.
        start: where a first start begins.
        header: a CSV header, with its line end; b"" where records name their fields.
        hold_us: how long a silent partition holds the others back; None for ever.
        leases: where readers agree who reads what; "" if there is one reader.
        leases_endpoint: URL of S3 for that; "" for AWS's own.
    """

    name: str
    which: dict[str, str]
    access: Access
    start: Start
    header: bytes
    hold_us: int | None
    leases: str
    leases_endpoint: str


class Position(msgspec.Struct):
    """Where to read on in a shard.

    Attributes:
        after: sequence number of the last record that was handed out; "" before the first.
        start: where to begin before that: TRIM_HORIZON, LATEST or AT_TIMESTAMP.
        time_us: the time, for AT_TIMESTAMP.
        offset: bytes of text that were handed out.
        parents: ids of the shards that it was split from or merged of.
        created: when its stream was made, milliseconds since 1970: another has other records.
        is_ended: whether it is closed and was read to its end.
    """

    after: str = ""
    start: str = "TRIM_HORIZON"
    time_us: int = 0
    offset: int = 0
    parents: tuple[str, ...] = ()
    created: int = 0
    is_ended: bool = False

    def is_behind(self, other: Position) -> bool:
        """Tell whether another reader of the same shard has come further."""
        if self.created != other.created or self.is_ended:
            return False
        return other.is_ended or int(other.after or 0) > int(self.after or 0)


class Shard:
    """One shard as it is read.

    Attributes:
        id: as the stream names it.
        name: what partition, errors and rejects call it: stream/shardId-000000000000.
        position: where to read on.
        iterator: the stream's own pointer; "" if a new one must be asked for.
        due_us: not to be read before.
        failures: in a row.
        rested_us: since when it is at its end with nothing new; None if it is not.
        behind_ms: how old the oldest unread record is, as the last answer said.
        is_mine: whether this reader reads it.
    """

    def __init__(self, stream: str, shard_id: str, position: Position) -> None:
        self.id = shard_id
        self.name = f"{stream}/{shard_id}"
        self.position = position
        self.iterator = ""
        self.due_us = 0
        self.failures = 0
        self.rested_us: int | None = None
        self.behind_ms = 0
        self.is_mine = True
        self._places: tuple[list[int], list[str]] = ([], [])

    def where(self) -> dict[str, Any]:
        """Return what GetShardIterator must be told."""
        position = self.position
        if position.after:
            return {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": position.after,
            }
        if position.start == "AT_TIMESTAMP":
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": position.time_us / 1e6}
        return {"ShardIteratorType": position.start}

    def begin_again(self, position: Position) -> None:
        """Read from another position on."""
        position.offset = self.position.offset  # of the text that the engine has had
        self.position, self.iterator, self.rested_us = position, "", None

    def take(
        self, records: Iterable[Mapping[str, Any]], header: bytes, counts: Counter[str]
    ) -> list[Chunk]:
        """Turn the next records into text, each line with its end, and move the position on.

        Every chunk ends with a whole record, and says so: a quote that does not close cannot
        swallow the records after it.

        Args:
            records: as GetRecords gives them.
            header: a CSV header for the beginning; records that repeat it are left out.
            counts: `records`, `texts`, `aggregated`, `damaged`, `empty` and `headers` rise.
        """
        ends: list[int] = []
        numbers: list[str] = []
        chunks: list[Chunk] = []
        pieces: list[bytes] = []
        start = offset = self.position.offset
        if header and not offset:
            pieces, offset = [header], len(header)

        def cut() -> None:
            nonlocal start, pieces
            if pieces:
                chunks.append(Chunk(self.name, start, b"".join(pieces), end=True))
                start, pieces = offset, []

        for record in records:
            counts["records"] += 1
            for text in _texts(record["Data"], counts):
                if text == header:
                    counts["headers"] += 1
                    continue
                is_odd = could_swallow(text)
                if is_odd:
                    cut()
                pieces.append(text)
                offset += len(text)
                if is_odd:
                    cut()
            ends.append(offset)
            numbers.append(record["SequenceNumber"])
            self.position.after = record["SequenceNumber"]
        cut()
        self.position.offset = offset
        self._places = (ends, numbers)
        return chunks

    def find(self, offset: int) -> str:
        """Return the sequence number of the record of the last answer that holds an offset."""
        ends, numbers = self._places
        place = bisect.bisect_right(ends, offset)
        return numbers[place] if place < len(numbers) else ""


def could_swallow(text: bytes) -> bool:
    """Tell whether quotes in lines of CSV may be open at their end; never so in JSON."""
    if b'"' not in text or text.startswith(b"{"):
        return False
    return b'"' in _QUOTED.sub(b"", text)


def _texts(data: bytes, counts: Counter[str]) -> list[bytes]:
    """Return the text of each record inside a record, with a line end."""
    parts = [data]
    if is_packed(data):
        found = unpack(data)
        if found is None:
            counts["damaged"] += 1
        else:
            counts["aggregated"] += 1
            parts = [content for _, content in found]
    texts = []
    for part in parts:
        if not part.strip():
            counts["empty"] += 1
            continue
        texts.append(part if part.endswith(b"\n") else part + b"\n")
    counts["texts"] += len(texts)
    return texts
