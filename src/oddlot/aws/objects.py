"""Objects of S3 as lines: plain or gzip, JSON Lines or CSV, never all of one in memory."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from oddlot.aws.calls import client
from oddlot.errors import DataError

LONGEST = 1 << 20  # bytes of a line; the rest of a longer one is passed over
_CHUNK = 1 << 18
_DELIMITERS = ",;\t|"
_MARK = b"\xef\xbb\xbf"  # that some editors begin UTF-8 with


class Place(NamedTuple):
    """An object that an event tells of.

    Attributes:
        bucket, key: its name.
        version: what tells it from another of that name.
        kind: "alerts" or "orders", by the folder that it lies in; "" for neither.
    """

    bucket: str
    key: str
    version: str
    kind: str


class Row(NamedTuple):
    """One line of an object.

    Attributes:
        number: of the line where it ends; the first is 1.
        raw: its bytes, without the end of the line; those of the whole row in CSV.
        cells: by column, in CSV; None where the line is JSON.
        problem: why it is no row; "" where it is.
    """

    number: int
    raw: bytes
    cells: dict[str, str] | None
    problem: str = ""


def read_place(record: dict[str, Any]) -> Place:
    """Read what a record of an event of S3 is about.

    Raises:
        DataError: it is not such a record.
    """
    try:
        bucket = str(record["s3"]["bucket"]["name"])
        known = record["s3"]["object"]
        key = unquote_plus(str(known["key"]))
    except (KeyError, TypeError):
        raise DataError("an event of S3 must name a bucket and a key") from None
    version = str(known.get("versionId") or known.get("eTag") or known.get("sequencer") or "")
    kinds = [part for part in key.split("/")[:-1] if part in ("alerts", "orders")]
    return Place(bucket, key, version, kinds[-1] if kinds else "")


def read_rows(place: Place) -> Iterator[Row]:
    """Read an object row after row.

    Raises:
        DataError: it is neither JSON Lines nor CSV, or damaged.
        Exception: of boto3.
    """
    body = client("s3").get_object(Bucket=place.bucket, Key=place.key)["Body"]
    try:
        yield from read_stream(body)
    finally:
        body.close()


def read_stream(body: Any) -> Iterator[Row]:
    """Read rows from something with `read(size)`; see `read_rows`."""
    start = body.read(2)
    start += body.read(1) if len(start) == 1 else b""
    joined = _Joined(start, body)
    is_packed = start == b"\x1f\x8b"
    packed = io.BufferedReader(_Raw(joined))
    stream: Any = gzip.GzipFile(fileobj=packed) if is_packed else joined
    lines = _read_lines(stream)
    first = next(lines, (0, b"", False))
    while first[0] and not first[1].removeprefix(_MARK).strip():
        first = next(lines, (0, b"", False))
    if not first[0]:
        return
    number, line, is_whole = first
    line = line.removeprefix(_MARK)
    if line.lstrip()[:1] == b"[":
        raise DataError("an object must be JSON Lines or CSV; got one JSON array")
    if line.lstrip()[:1] == b"{":
        yield _json_row(number, line, is_whole)
        for number, line, is_whole in lines:
            if line.strip():
                yield _json_row(number, line, is_whole)
        return
    if not is_whole:
        raise DataError(f"line {number} must have names of columns; got {LONGEST} bytes and more")
    yield from _read_csv(line, lines)


def _json_row(number: int, line: bytes, is_whole: bool) -> Row:
    problem = "" if is_whole else f"a line must have {LONGEST} bytes at most"
    return Row(number, line.rstrip(b"\r\n"), None, problem)


def _read_csv(header: bytes, lines: Iterator[tuple[int, bytes, bool]]) -> Iterator[Row]:
    text = _decode(header)
    delimiter = max(_DELIMITERS, key=text.count)
    names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])]
    if len(names) < 2:
        raise DataError("an object must be JSON Lines, or CSV that begins with names of columns")
    number = 1
    taken: list[bytes] = []

    def feed() -> Iterator[str]:
        nonlocal number
        for at, line, is_whole in lines:
            number = at
            if line.strip() or taken:
                taken.append(line)
                # Too long a line is no row; csv would take what is left of it for one.
                yield _decode(line) if is_whole else "\x00"

    csv.field_size_limit(LONGEST)
    reader = csv.reader(feed(), delimiter=delimiter)
    while True:
        taken.clear()
        problem, cells = "", list[str]()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            problem = "a row must be CSV; got something else"
        raw = b"".join(taken)
        if cells == ["\x00"] or len(raw) > LONGEST:
            problem = f"a row must have {LONGEST} bytes at most"
        elif not problem and len(cells) != len(names):
            problem = f"a row must have {len(names)} columns; got {len(cells)}"
        yield Row(number, raw.rstrip(b"\r\n"), dict(zip(names, cells, strict=False)), problem)


def _read_lines(stream: Any) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, bytes and whether they are all of it, for each line with its end."""
    number, rest, is_whole = 1, b"", True
    try:
        while chunk := stream.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield number, line[:LONGEST] + b"\n", is_whole and len(line) <= LONGEST
                number, is_whole = number + 1, True
            if len(rest) > LONGEST:
                rest, is_whole = rest[:LONGEST], False
    except (EOFError, OSError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        if isinstance(stream, gzip.GzipFile):
            raise DataError("an object that begins as gzip must be whole") from None
        raise error
    if rest:
        yield number, rest, is_whole


def _decode(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace")  # what spreadsheets write


class _Joined:
    """What was read already, and the rest."""

    def __init__(self, start: bytes, rest: Any) -> None:
        self._start = start
        self._rest = rest

    def read(self, size: int) -> bytes:
        if self._start:
            start, self._start = self._start, b""
            return start
        found: bytes = self._rest.read(size)
        return found


class _Raw(io.RawIOBase):
    """A body as gzip wants it."""

    def __init__(self, body: _Joined) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._body.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)
