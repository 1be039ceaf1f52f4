"""What a source looks like: its format, delimiter, columns and dates, found at its beginning."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import msgspec

from oddlot.decode.columns import count_known, did_you_mean, map_columns, show_name
from oddlot.decode.dates import WINDOW, decide_dates
from oddlot.decode.reading import DATES, ENCODINGS, FORMATS, Reading, Settings
from oddlot.decode.record import LONGEST_RECORD, parse_quantity, parse_time
from oddlot.errors import ConfigError, DataError

DELIMITERS = (",", ";", "\t", "|")

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
_MAGIC = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a ZIP archive or spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save it as .xlsx or CSV",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"%PDF": "PDF",
}


def look(
    name: str, head: bytes, more: Callable[[], bytes], settings: Settings
) -> tuple[Reading, int]:
    """Find out how a source is read, from its beginning and as much more as that takes.

    The answer depends on the source's bytes alone, not on how they are cut into head and more.
    A source with no order lines yet gets dates "iso": look again when there are some.

    Args:
        name: the source as the user knows it; errors begin with it.
        head: the beginning of the source, as much as is at hand.
        more: returns the next bytes at each call, b"" at the end.
        settings: what the user declared.

    Returns:
        The reading, and how many bytes to skip: a byte order mark, blank lines, the header.

    Raises:
        ConfigError: the layout cannot be found, or is not what the user declared.
    """
    _check(name, settings)
    source = _Source(head, more)
    source.grow_to(len(_BOM) + 1)
    skip = len(_BOM) if source.head.startswith(_BOM) else 0
    _refuse_binary(name, source.head[skip:])
    skip = _skip_blank_lines(source, skip)
    if len(source.head) == skip:
        raise ConfigError(f"{name}: is empty; expected a header and order lines")
    first = source.head[skip:].lstrip(b" \t")[:1]
    if first == b"[" and settings.format != "csv":
        raise ConfigError(f"{name}: must be JSON Lines, an object on each line; got a JSON array")
    if settings.format == "jsonl" or (settings.format == "auto" and first == b"{"):
        reading = _look_at_json(name, source, skip, settings)
    else:
        reading, size = _look_at_header(name, source, skip, settings)
        skip += size
    if settings.dates == "auto":
        dates = decide_dates(name, source.head[skip:], more, reading)
        reading = msgspec.structs.replace(reading, dates=dates)
    return reading, skip


class _Source:
    """The beginning of a source, grown as far as it is needed."""

    def __init__(self, head: bytes, more: Callable[[], bytes]) -> None:
        self.head = head
        self._more = more
        self.is_ended = False

    def grow_to(self, size: int) -> None:
        pieces, length = [self.head], len(self.head)
        while length < size and not self.is_ended:
            piece = self._more()
            self.is_ended = not piece
            pieces.append(piece)
            length += len(piece)
        self.head = b"".join(pieces)

    def grow_to_line_end(self, start: int, longest: int) -> None:
        """Grow until a line that begins at `start` is whole, or is too long anyway."""
        while b"\n" not in self.head[start : start + longest] and not self.is_ended:
            if len(self.head) > start + longest:
                return
            self.grow_to(len(self.head) + 1)


def _check(name: str, settings: Settings) -> None:
    for field, got, known in (
        ("format", settings.format, ("auto", *FORMATS)),
        ("encoding", settings.encoding, ENCODINGS),
        ("dates", settings.dates, ("auto", *DATES)),
    ):
        if got not in known:
            raise ConfigError(
                f"{name}: {field} must be one of: {', '.join(known)}; "
                f"got {got!r}{did_you_mean(got, known)}"
            )
    delimiter = settings.delimiter
    if delimiter != "auto" and (
        len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0'
    ):
        raise ConfigError(
            f"{name}: delimiter must be auto or one character such as ; (not a quote or a line "
            f"end); got {delimiter!r}"
        )


def _refuse_binary(name: str, head: bytes) -> None:
    got = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    start = head[:LONGEST_RECORD]
    # One stray NUL makes one reject; a header with NULs, or many of them, is another format.
    if got is None and (b"\0" in start.split(b"\n", 1)[0] or start.count(0) * 50 > len(start)):
        got = "binary data"
    if got is not None:
        raise ConfigError(f"{name}: must be text, CSV or JSON Lines; got {got}")


def _skip_blank_lines(source: _Source, start: int) -> int:
    """Return where the first line that is not blank begins; the end if there is none."""
    while not (rest := source.head[start:].lstrip(_BLANKS)) and not source.is_ended:
        source.grow_to(len(source.head) + 1)
    blank = source.head[start : len(source.head) - len(rest)]
    return len(source.head) if not rest else start + blank.rfind(b"\n") + 1


def _look_at_json(name: str, source: _Source, start: int, settings: Settings) -> Reading:
    """Take the keys of every object in the first window: a record may leave some out."""
    source.grow_to(start + WINDOW)
    names: dict[str, None] = {}
    for line in source.head[start : start + WINDOW].split(b"\n"):
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        if isinstance(found, dict):
            names.update(dict.fromkeys(found))
    if not names:
        raise ConfigError(f"{name}: must be JSON Lines, an object on each line; found none")
    return Reading(
        format="jsonl",
        columns=map_columns(name, list(names), settings.columns),
        header=(),
        encoding=settings.encoding,
        dates="iso" if settings.dates == "auto" else settings.dates,
        kinds=settings.kinds,
    )


def _look_at_header(
    name: str, source: _Source, start: int, settings: Settings
) -> tuple[Reading, int]:
    source.grow_to_line_end(start, LONGEST_RECORD)
    if b'"' in source.head[start : start + LONGEST_RECORD].split(b"\n", 1)[0]:
        source.grow_to(start + LONGEST_RECORD)  # a name may hold a line end
    delimiters = DELIMITERS if settings.delimiter == "auto" else (settings.delimiter,)
    text = source.head[start : start + LONGEST_RECORD].decode("iso-8859-1")
    found = [(*_header(text, delimiter), delimiter) for delimiter in delimiters]
    wanted = set(settings.columns.values())
    # The delimiter that gives the most names we know, then the most names at all.
    names, size, delimiter = max(
        found,
        key=lambda it: (count_known(it[0]) + len(wanted.intersection(it[0])), len(it[0])),
    )
    if size == 0:
        raise ConfigError(f"{name}: line 1 must be a header; got {_why_no_header(text)}")
    header = tuple(_decode(name, field, settings.encoding) for field in names)
    _refuse_data(name, header, wanted)
    seen: set[str] = set()
    for column in header:
        # Unnamed columns do no harm: nothing can be mapped to them.
        if column and column in seen:
            raise ConfigError(
                f"{name}: header must name each column once; got {show_name(column)} twice"
            )
        seen.add(column)
    reading = Reading(
        format="csv",
        columns=map_columns(name, header, settings.columns),
        header=header,
        delimiter=delimiter,
        encoding=settings.encoding,
        dates="iso" if settings.dates == "auto" else settings.dates,
        kinds=settings.kinds,
    )
    return reading, size


def _header(text: str, delimiter: str) -> tuple[list[str], int]:
    """Read the header in a text of one character a byte; its size is 0 where it has no end."""
    lines = io.StringIO(text, newline="\n")
    rows = csv.reader(iter(lines.readline, ""), delimiter=delimiter, strict=True)
    try:
        names = next(rows)
    except (csv.Error, StopIteration):
        return [], 0
    size = lines.tell()
    is_cut = len(text) == LONGEST_RECORD and not text[:size].endswith("\n")
    return names, 0 if is_cut else size


def _why_no_header(text: str) -> str:
    first = text.split("\n", 1)[0]
    if "\r" in first.rstrip("\r"):
        return "lines that end in CR alone; save them with LF or CRLF"
    if len(first) == LONGEST_RECORD:
        return f"a line longer than {LONGEST_RECORD} bytes"
    return f"quotes that do not close, in {show_name(first)}"


def _decode(name: str, field: str, encoding: str) -> str:
    data = field.encode("iso-8859-1")
    if encoding == "iso-8859-1":
        return field
    try:
        return data.decode()
    except UnicodeDecodeError:
        if encoding == "utf-8":
            raise ConfigError(f"{name}: header must be UTF-8; got {data!r}") from None
        return field


def _refuse_data(name: str, header: tuple[str, ...], wanted: set[str]) -> None:
    if count_known(header) or wanted.intersection(header):
        return
    data = next((field for field in header if _is_data(field)), None)
    if data is not None:
        raise ConfigError(
            f"{name}: line 1 must be a header that names the columns; got data such as "
            f"{show_name(data)!r}. Put a line such as InvoiceNo,StockCode,Quantity,InvoiceDate "
            "in front"
        )


def _is_data(field: str) -> bool:
    for parse in (parse_quantity, lambda text: parse_time(text, "day-first")):
        try:
            parse(field)
        except DataError:
            continue
        return True
    return False
