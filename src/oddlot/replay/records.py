"""The records of an orders file, cut out without a change, and what can be made of them."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import msgspec

from oddlot.decode.layout import look
from oddlot.decode.reading import Reading, Settings
from oddlot.decode.record import LONGEST_RECORD, parse_time, read_record
from oddlot.decode.table import parquet_chunks, xlsx_chunks
from oddlot.errors import DataError
from oddlot.streams.chunks import read_file

EVENT_COLUMN = "EventId"
# What JSON and people both take for a number; anything else stays a text.
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
_NUMBERS = ("quantity", "price")
_TABLES = {".parquet": parquet_chunks, ".xlsx": xlsx_chunks}


class Source:
    """An orders file, opened: its reading, its header, and its records once.

    Args:
        name: the file as the user knows it.
        chunks: its bytes, cut anywhere; as many as `look` wants are read ahead.
        settings: what the user declared about it.

    Attributes:
        reading: how the file is read.
        header: the header line with its line end; b"" for JSON Lines.

    Raises:
        ConfigError: its layout cannot be found.
    """

    def __init__(self, name: str, chunks: Iterator[bytes], settings: Settings) -> None:
        head = next(chunks, b"")
        ahead = [head]

        def more() -> bytes:
            piece = next(chunks, b"")
            ahead.append(piece)
            return piece

        self.reading, skip = look(name, head, more, settings)
        while len(ahead[0]) < skip:
            ahead[:2] = [ahead[0] + ahead[1]]
        start = ahead[0][:skip].removeprefix(b"\xef\xbb\xbf").lstrip()
        self.header = _ended(start) if self.reading.format == "csv" else b""
        ahead[0] = ahead[0][skip:]
        self._chunks = chain(ahead, chunks)

    @classmethod
    def open(cls, path: str, settings: Settings) -> Source:
        """Open a file of orders, plain, packed or a table.

        Raises:
            ConfigError: it cannot be opened, or its layout cannot be found.
            StreamError: reading failed midway.
        """
        read_table = _TABLES.get(Path(path).suffix.lower())
        if read_table:
            return cls(path, read_table(path), settings)
        return cls(path, (bytes(chunk.data) for chunk in read_file(path)), settings)

    def records(self) -> Iterator[list[bytes]]:
        """Return the records, each with its line end, some at a time and in order.

        A line end within quotes does not end a CSV record.
        """
        is_quoted = self.reading.format == "csv"
        delimiter = self.reading.delimiter.encode()
        parts: list[bytes] = []
        held: list[bytes] = []
        for data in self._chunks:
            cut = data.rfind(b"\n") + 1
            if cut:
                whole = b"".join((*parts, data[:cut]))
                lines = [line + b"\n" for line in whole[:-1].split(b"\n")]
                if is_quoted and (held or b'"' in whole):
                    lines = _join_quoted(lines, held, delimiter)
                yield lines
                parts = []
            if cut < len(data):
                parts.append(data[cut:])
        rest = b"".join((*held, *parts))
        if rest:
            yield [_ended(rest)]


def body(record: bytes) -> bytes:
    """Return a record without its line end."""
    return record[:-2] if record.endswith(b"\r\n") else record.removesuffix(b"\n")


def time_reader(reading: Reading) -> Callable[[bytes], int | None]:
    """Return a function that reads the event time of a record; None where it has none."""
    if reading.format == "jsonl":
        return lambda record: _judged_time(record, reading)
    place = reading.places["time"]
    delimiter = reading.delimiter.encode()
    dates, width = reading.dates, len(reading.header)

    def read(record: bytes) -> int | None:
        fields = record.split(delimiter)
        if b'"' in record or len(fields) != width:
            return _judged_time(record, reading)
        try:
            return parse_time(fields[place].decode("ascii", "replace"), dates)
        except DataError:
            return None

    return read


def event_adder(reading: Reading) -> Callable[[bytes, int], bytes]:
    """Return a function that gives a record its event id, made of its bytes and its number.

    A record that is no JSON object stays as it is.
    """
    delimiter = reading.delimiter.encode()
    is_csv = reading.format == "csv"

    def add(record: bytes, number: int) -> bytes:
        text = body(record)
        if not text.strip():
            return record
        event = hashlib.blake2b(text + number.to_bytes(8, "little"), digest_size=8).hexdigest()
        end = record[len(text) :]
        if is_csv:
            return text + delimiter + event.encode() + end
        inside = text.rstrip()
        if not (inside.endswith(b"}") and inside.lstrip().startswith(b"{")):
            return record
        inside = inside[:-1].rstrip()
        comma = b"" if inside.endswith(b"{") else b","
        return inside + comma + f'"{EVENT_COLUMN}":"{event}"}}'.encode() + end

    return add


def event_header(header: bytes, reading: Reading) -> bytes:
    """Return a CSV header with a column for the event id at its end."""
    text = body(header)
    return text + reading.delimiter.encode() + EVENT_COLUMN.encode() + header[len(text) :]


def json_writer(reading: Reading) -> Callable[[bytes], bytes]:
    """Return a function that writes a CSV record as a JSON object on one line, in UTF-8.

    Keys are the header's names; quantity and price are numbers where JSON can say so and keep
    their digits. A record that is no line (too few or too many fields, not the encoding that the
    user declared) becomes one JSON text, which every reader sets aside as it would have this.
    """
    numbers = {reading.columns[role] for role in _NUMBERS if role in reading.columns}
    columns = [(f"{_json(name)}:", name in numbers) for name in reading.header]

    def write(record: bytes) -> bytes:
        text, is_read = _decode(body(record), reading.encoding)
        if not text.strip():
            return b"\n"
        fields = _fields(text, reading)
        if not is_read or len(fields) != len(columns):
            return f"{_json(text)}\n".encode()
        # Most records hold nothing that JSON would escape.
        is_plain = text.isprintable() and '"' not in text and "\\" not in text
        pairs = [
            key + field
            if is_number and _NUMBER.fullmatch(field)
            else f'{key}"{field}"'
            if is_plain
            else key + _json(field)
            for (key, is_number), field in zip(columns, fields, strict=True)
        ]
        return f"{{{','.join(pairs)}}}\n".encode()

    return write


def _ended(record: bytes) -> bytes:
    return record if not record or record.endswith(b"\n") else record + b"\n"


def _join_quoted(lines: list[bytes], held: list[bytes], delimiter: bytes) -> list[bytes]:
    """Join lines of which a quoted field goes on; `held`, of one still open, is updated."""
    whole: list[bytes] = []
    for line in lines:
        if not held and b'"' not in line:
            whole.append(line)
            continue
        held.append(line)
        record = b"".join(held)
        if not _is_open(record, delimiter):
            whole.append(record)
            held.clear()
        elif len(record) > LONGEST_RECORD:
            # A quote that nothing closes; one bad record must not swallow the file.
            whole += held
            held.clear()
    return whole


def _is_open(record: bytes, delimiter: bytes) -> bool:
    """Say whether a record ends within quotes, by the rules of Python's csv."""
    place = 0
    while True:
        if record.startswith(b'"', place):
            place += 1
            while True:
                quote = record.find(b'"', place)
                if quote < 0:
                    return True
                place = quote + 1
                if not record.startswith(b'"', place):
                    break
                place += 1
        found = record.find(delimiter, place)
        if found < 0:
            return False
        place = found + 1


def _judged_time(record: bytes, reading: Reading) -> int | None:
    try:
        return read_record(body(record), reading).time_us
    except DataError:
        return None


def _decode(data: bytes, encoding: str) -> tuple[str, bool]:
    """Return a text, and whether it is what the encoding says it should be."""
    if encoding != "iso-8859-1":
        try:
            return data.decode(), True
        except UnicodeDecodeError:
            if encoding == "utf-8":
                return data.decode(errors="replace"), False
    return data.decode("iso-8859-1"), True


def _fields(text: str, reading: Reading) -> list[str]:
    if '"' not in text:
        return text.split(reading.delimiter)
    try:
        return next(csv.reader((text,), reading.dialect))
    except (csv.Error, StopIteration):
        return []


def _json(value: str) -> str:
    return msgspec.json.encode(value).decode()
