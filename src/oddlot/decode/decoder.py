"""Chunks of bytes to batches of order lines, and rejects: the fast scan, then the slow judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from oddlot.decode.reading import DATES, Reading
from oddlot.decode.record import Fields, read_record
from oddlot.decode.scan import MAX_RECORD, PADDING, hash_bytes
from oddlot.decode.scan_csv import scan_csv
from oddlot.decode.scan_json import Shape, learn, scan_json
from oddlot.engine.compiled import compiled
from oddlot.errors import DataError
from oddlot.schema import LINE, ROLES, TEXTS, Bytes, Lines, Reject

_KEPT = 256  # bytes of a rejected record that are kept
_CAPACITY = 32_768  # lines in a batch, at most
_NO_SHAPE = Shape(
    np.zeros(PADDING, np.uint8),
    np.zeros((1, 4), np.int64),
    np.zeros(0, np.bool_),
    np.zeros(0, np.bool_),
    np.full(9, -1, np.int64),
)


class Decoded(msgspec.Struct, frozen=True):
    """What became of some records.

    Attributes:
        lines: the order lines, in the order of the source; SKUs are still hashes.
        rejects: the records that could not become lines.
    """

    lines: Lines
    rejects: list[Reject]


@compiled
def _hash_slow(line, slow, text):
    """Set the hashes of the SKU and the event id of the lines that were judged."""
    for i in slow:
        row = line[i]
        row.sku = np.int32(
            hash_bytes(text, row.text + np.int64(row.sku_at), np.int64(row.sku_size))
            & np.uint64(0x7FFFFFFF)
        )
        if row.event > 0:
            end = row.text + np.int64(row.country_at) + np.int64(row.country_size)
            row.event = hash_bytes(text, end, np.int64(row.event)) | np.uint64(1)


class Decoder:
    """Decodes one source, chunk by chunk; a record may be cut by the end of a chunk.

    Attributes:
        position: byte offset in the source of the first record that is not decoded yet.
        number: its line number, from 1.
    """

    def __init__(
        self, reading: Reading, name: str, source: int, position: int = 0, number: int = 1
    ) -> None:
        """Start at `position`; `name` is the source as the user knows it."""
        self.reading = reading
        self.name = name
        self.source = source
        self.position = position
        self.number = number
        self._tail: Bytes = np.zeros(0, np.uint8)
        self._dropped = 0  # bytes of a record that is too long, already let go
        self._head = b""  # and how it began
        self._shape: Shape | None = None
        self._dates = DATES.index(reading.dates)
        self._roles = np.array([reading.places.get(role, -1) for role in ROLES], np.int64)
        self._odd = np.empty((_CAPACITY, 4), np.int64)

    def feed(self, data: Any, is_last: bool = False) -> Iterator[Decoded]:
        """Decode the next bytes of the source.

        Args:
            data: bytes-like, what follows what was fed before.
            is_last: whether the source ends here, so that a last record needs no line end.

        Yields:
            Batches of at most 32,768 lines.
        """
        fresh = np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)
        if self._dropped:
            fresh, reject = self._drop(fresh, is_last)
            if reject is not None:
                yield Decoded(Lines(np.empty(0, LINE), np.zeros(PADDING, np.uint8)), [reject])
        stop = len(self._tail) + len(fresh)
        text = np.empty(stop + PADDING, np.uint8)
        text[: len(self._tail)] = self._tail
        text[len(self._tail) : stop] = fresh
        text[stop:] = 0
        at = 0
        while at < stop:
            line = np.empty(min(_CAPACITY, stop - at), LINE)
            count, odd_count, after, number = self._scan(text, at, stop, is_last, line)
            if after == at:
                break
            moved = after - at
            decoded = self._judge(text, line[:count], self._odd[:odd_count])
            self.position += moved
            self.number = number
            at = after
            yield decoded
        self._tail = text[at:stop].copy()
        if len(self._tail) > 2 * MAX_RECORD:
            # No line end in sight: let the bytes go, and reject the record when it ends.
            self._head = self._tail[:_KEPT].tobytes()
            self._dropped = len(self._tail)
            self._tail = np.zeros(0, np.uint8)

    def save(self) -> tuple[dict[str, Any], Bytes]:
        """Return what a checkpoint needs: numbers, and the bytes of a record cut short."""
        numbers = {
            "position": self.position,
            "number": self.number,
            "dropped": self._dropped,
            "head": self._head,
        }
        return numbers, self._tail

    def restore(self, numbers: dict[str, Any], tail: Bytes) -> None:
        """Take over what `save` gave."""
        self.position, self.number = numbers["position"], numbers["number"]
        self._dropped, self._head = numbers["dropped"], bytes(numbers["head"])
        self._tail = tail

    def _scan(
        self, text: Bytes, at: int, stop: int, is_last: bool, line: Any
    ) -> tuple[int, int, int, int]:
        reading = self.reading
        where = (self._dates, self.position, self.number, self.source, line, self._odd)
        if reading.format == "csv":
            delimiter = np.uint8(ord(reading.delimiter))
            layout = (delimiter, len(reading.header), self._roles)
            return scan_csv(text, at, stop, is_last, *layout, *where)  # type: ignore[no-any-return]
        if self._shape is None:
            first = text[at : min(stop, at + MAX_RECORD)].tobytes().lstrip(b"\r\n")
            self._shape = learn(first.split(b"\n", 1)[0].rstrip(b"\r"), reading.columns)
        shape = self._shape or _NO_SHAPE
        parts = (shape.literal, shape.piece, shape.is_text, shape.must_be_whole, shape.roles)
        result: tuple[int, int, int, int] = scan_json(text, at, stop, is_last, *parts, *where)
        if 2 * result[1] > result[0]:
            self._shape = None  # records are built another way now: learn again
        return result

    def _judge(self, text: Bytes, line: Any, odd: Any) -> Decoded:
        """Let the slow path judge the odd records of a batch."""
        if len(odd) == 0:
            return Decoded(Lines(line, text), [])
        base = len(text) - PADDING
        rejects: list[Reject] = []
        rejected: list[int] = []
        slow: list[int] = []
        extra = bytearray()
        for index, start, stop, is_open in odd.tolist():
            data = text[start:stop].tobytes()
            place = (int(line["position"][index]), int(line["number"][index]))
            try:
                if is_open:
                    raise DataError("a quote must be closed; this one never is")
                fields = read_record(data, self.reading)
                line[index] = self._row(fields, place, base + len(extra), extra)
            except DataError as error:
                rejects.append(Reject(self.name, *place, str(error), data[:_KEPT], len(data)))
                rejected.append(index)
            else:
                slow.append(index)
        whole = np.zeros(len(text) + len(extra), np.uint8)
        whole[:base] = text[:base]
        whole[base : base + len(extra)] = np.frombuffer(extra, np.uint8)
        _hash_slow(line, np.array(slow, np.int64), whole)
        return Decoded(Lines(np.delete(line, rejected) if rejected else line, whole), rejects)

    def _row(
        self, fields: Fields, place: tuple[int, int], start: int, extra: bytearray
    ) -> tuple[Any, ...]:
        """Make a row of LINE out of judged fields; their texts go to the end of `extra`.

        The event id goes there too: its hash is taken later, from `event` as its size.
        """
        pieces = [getattr(fields, name).encode() for name in TEXTS]
        event = fields.event.encode()
        if sum(map(len, pieces)) + len(event) >= MAX_RECORD:
            raise DataError(f"record must have at most {MAX_RECORD:,} bytes of text")
        spans, at = [], 0
        for piece in pieces:
            spans += [at, len(piece)]
            at += len(piece)
        extra += b"".join(pieces) + event
        numbers = (fields.time_us, fields.quantity, fields.price)
        return (*numbers, place[0], start, len(event), place[1], self.source, 0, *spans, 0, 1)

    def _drop(self, fresh: Bytes, is_last: bool) -> tuple[Bytes, Reject | None]:
        """Let go of the rest of a record that is too long."""
        ends = np.flatnonzero(fresh == 10)
        if len(ends) == 0 and not is_last:
            self._dropped += len(fresh)
            return fresh[:0], None
        used = int(ends[0]) + 1 if len(ends) else len(fresh)
        size = self._dropped + used - (1 if len(ends) else 0)
        reason = f"record must have at most {MAX_RECORD:,} bytes; got {size:,}"
        reject = Reject(self.name, self.position, self.number, reason, self._head, size)
        self.position += self._dropped + used
        self.number += 1
        self._dropped = 0
        return fresh[used:], reject
