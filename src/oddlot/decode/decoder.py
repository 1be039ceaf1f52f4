"""Chunks of bytes to batches of order lines, and rejects: the fast scan, then the slow judge."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from oddlot.decode.reading import DATES, ENCODINGS, Reading
from oddlot.decode.record import Fields, read_record
from oddlot.decode.scan import FIELDS, MAX_RECORD, PADDING, hash_text
from oddlot.decode.scan_csv import scan_csv
from oddlot.decode.scan_json import MOST_VALUES, NO_SHAPE, Shape, learn, scan_json
from oddlot.errors import DataError
from oddlot.schema import LINE, ROLES, TEXTS, Bytes, Lines, Reject

_KEPT = 256  # bytes of a rejected record that are kept
_CAPACITY = 16_384  # lines in a batch, at most
_PIECE = 1 << 18  # bytes decoded together: they, their marks and lines stay in the cache
# A record of 65,536 bytes may end in two more, and a quote or line end may be cut in two.
_LONGEST_TAIL = MAX_RECORD + 2
_TEXT = _LONGEST_TAIL + _PIECE + PADDING  # and as much again for what is written anew
_LEARNT_FROM = 20  # records that are tried


class Decoded(msgspec.Struct, frozen=True):
    """What became of some records.

    Attributes:
        lines: the order lines, in the order of the source; SKUs have no numbers yet.
        rejects: the records that could not become lines.
    """

    lines: Lines
    rejects: list[Reject]


class _Workspace(threading.local):
    """What every decoder of a thread works in, so that a thousand sources cost no more than one."""

    def __init__(self) -> None:
        self.text = np.zeros(2 * _TEXT, np.uint8)
        self.line = np.empty(_CAPACITY, LINE)
        self.odd = np.empty((_CAPACITY, 3), np.int64)
        self.comma = np.empty(4 * (_TEXT + MAX_RECORD), np.uint8)
        self.other = np.empty(4 * (_TEXT + PADDING), np.uint8)


_workspace = _Workspace()


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
        self._dropped = 0  # bytes of a line that is too long, already let go
        self._head = b""  # and how it began
        self._shape: Shape | None = None
        self._dates = DATES.index(reading.dates)
        self._encoding = ENCODINGS.index(reading.encoding)
        if reading.format == "csv":
            self._delimiter = np.uint8(ord(reading.delimiter))
            roles = [reading.places.get(role, -1) for role in ROLES]
            self._roles = np.array(roles, np.int32).view(np.uint8)
        self._note = np.zeros(FIELDS + 8 * max(MOST_VALUES, len(reading.header)), np.uint8)

    def feed(self, data: Any, is_last: bool = False) -> Iterator[Decoded]:
        """Decode the next bytes of the source.

        Args:
            data: bytes-like, what follows what was fed before.
            is_last: whether the source ends here, so that a last record needs no line end.

        Yields:
            Batches of lines. Each is overwritten when the next one, of any decoder in this
            thread, is asked for: copy what must outlive it.
        """
        fresh = np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)
        at = 0
        while True:
            piece = fresh[at : at + _PIECE]
            at += len(piece)
            yield from self._feed(piece, is_last and at == len(fresh))
            if at == len(fresh):
                return

    def _feed(self, fresh: Bytes, is_last: bool) -> Iterator[Decoded]:
        space = _workspace
        tail, text = self._tail, space.text
        at, stop = 0, len(tail) + len(fresh)
        text[: len(tail)] = tail
        text[len(tail) : stop] = fresh
        text[stop : stop + PADDING] = 0
        if self._dropped:
            at, reject = self._drop(text, 0, stop, is_last)
            if reject is not None:
                yield Decoded(Lines(space.line[:0], text[:PADDING]), [reject])
                # Another decoder may have worked here meanwhile.
                text[: len(tail)] = tail
                text[len(tail) : stop] = fresh
                text[stop : stop + PADDING] = 0
        while at < stop and not self._dropped:
            count, odd_count, after, number, extra = self._scan(at, stop, is_last)
            if after > at:
                decoded = self._judge(space.line[:count], space.odd[:odd_count], extra)
                self.position += after - at
                self.number = number
                at = after
                yield decoded
            elif stop - at > _LONGEST_TAIL:
                # No record can begin here: let the line go, and reject it when it ends.
                self._head = text[at : at + _KEPT].tobytes()
                at, _ = self._drop(text, at, stop, is_last)
            else:
                break
        self._tail = text[at:stop].copy()

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

    def _scan(self, at: int, stop: int, is_last: bool) -> tuple[int, int, int, int, int]:
        reading, space = self.reading, _workspace
        text, extra = space.text, stop + PADDING
        scan: Any = scan_csv if reading.format == "csv" else scan_json
        where: Any = (self._dates, self.position, self.number, self.source, space.line, space.odd)
        if reading.format == "csv":
            layout: Any = (self._delimiter, len(reading.header), self._encoding, self._roles)
            lists = (space.comma, space.other, self._note)
            found: tuple[int, int, int, int, int]
            found = scan(text, at, stop, is_last, extra, *layout, *where, *lists)
            return found
        if self._shape is None:
            self._shape = self._learn(text[at : min(stop, at + MAX_RECORD)].tobytes())
        shape = self._shape or NO_SHAPE
        has_price = "price" in reading.columns
        layout = (shape.literal, shape.piece, self._encoding, shape.role, has_price)
        count, odd_count, after, number = scan(text, at, stop, is_last, *layout, *where, self._note)
        if 2 * odd_count > count:
            self._shape = None  # records are built another way now: learn again
        return count, odd_count, after, number, extra

    def _learn(self, text: bytes) -> Shape | None:
        for record in text.split(b"\n", _LEARNT_FROM)[:_LEARNT_FROM]:
            if shape := learn(record.removesuffix(b"\r"), self.reading.columns):
                return shape
        return None

    def _judge(self, line: Any, odd: Any, end: int) -> Decoded:
        """Let the slow path judge the odd records of a batch, whose texts end at `end`."""
        text = _workspace.text
        if len(odd) == 0:
            return Decoded(Lines(line, text[: end + PADDING]), [])
        rejects: list[Reject] = []
        rejected: list[int] = []
        extra = bytearray()
        for index, start, stop in odd.tolist():
            data = text[start:stop].tobytes()
            place = (int(line["position"][index]), int(line["number"][index]))
            try:
                fields = read_record(data, self.reading)
            except DataError as error:
                rejects.append(Reject(self.name, *place, str(error), data[:_KEPT], len(data)))
                rejected.append(index)
            else:
                line[index] = self._row(fields, place, end + len(extra), extra)
        size = end + len(extra) + PADDING
        if size > len(text):
            text = np.concatenate([text[:end], np.zeros(size - end, np.uint8)])
        text[end : end + len(extra)] = np.frombuffer(extra, np.uint8)
        lines = Lines(np.delete(line, rejected) if rejected else line, text[:size])
        return Decoded(lines, rejects)

    def _row(
        self, fields: Fields, place: tuple[int, int], start: int, extra: bytearray
    ) -> tuple[Any, ...]:
        """Make a row of LINE out of judged fields; their texts go to the end of `extra`."""
        places: dict[bytes, int] = {}
        spans, size = [], 0
        for name in TEXTS:
            piece = getattr(fields, name).encode()
            # Two roles may share a column; kept once, no more than the record's size is needed.
            if piece not in places:
                places[piece] = size
                extra += piece
                size += len(piece)
            spans += [places[piece], len(piece)]
        event = hash_text(fields.event.encode()) | 1 if fields.event else 0
        numbers = (fields.time_us, fields.quantity, fields.price)
        return (*numbers, place[0], start, event, place[1], self.source, -1, *spans, 0, 1)

    def _drop(self, text: Bytes, at: int, stop: int, is_last: bool) -> tuple[int, Reject | None]:
        """Let go of a line that is too long, up to its end.

        Returns:
            Where in text to go on, and the reject where the line has ended.
        """
        data = text[at:stop].tobytes()
        is_json = self.reading.format == "jsonl"
        ends = [end for byte in (b"\n", b"\r")[: 2 - is_json] if (end := data.find(byte)) >= 0]
        end = min(ends, default=len(data))
        after = end + 1
        if is_json:
            is_cut = end == len(data)
            # A carriage return belongs to the line end, if that is what follows.
            end -= data.endswith(b"\r", 0, end) and not (is_cut and is_last)
        else:
            is_cut = end == len(data) or (end == len(data) - 1 and data.endswith(b"\r"))
            after += data[after - 1 : after + 1] == b"\r\n"
        if is_cut and not is_last:
            self._dropped += end
            return at + end, None
        size = self._dropped + end
        reason = f"record must have at most {MAX_RECORD} bytes; got {size}"
        reject = Reject(self.name, self.position, self.number, reason, self._head, size)
        after = min(after, len(data))
        self.position += self._dropped + after
        self.number += 1
        self._dropped, self._head = 0, b""
        return at + after, reject
