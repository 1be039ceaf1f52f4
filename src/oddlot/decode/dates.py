"""Which way round a source's dates are, decided from dates that can be read in one way only."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from oddlot.decode.reading import DATES, Reading
from oddlot.decode.record import parse_time
from oddlot.errors import ConfigError, DataError
from oddlot.schema import Bytes, Ints

WINDOW = 1 << 20  # bytes looked at together, however the source is cut

_LOCAL_DATE = re.compile(r"[0-9]{1,2}([-/.])[0-9]{1,2}\1[0-9]{4}")
_ORDERS = ("month-first", "day-first")
_LINES_BACK = 8  # a record may have begun this many lines earlier, inside quotes


def decide_dates(name: str, head: bytes, more: Callable[[], bytes], reading: Reading) -> str:
    """Return how a source's dates are written: "iso", "month-first" or "day-first".

    The first readable time says whether years come first ("iso" too if there is none). Where they
    do not, the source is read on until a day above 12 shows the order; it is never guessed.

    Args:
        name: the source as the user knows it.
        head: the beginning of the source, after its header.
        more: returns the next bytes at each call, b"" at the end.
        reading: how the source is read otherwise.

    Raises:
        ConfigError: both orders fit, or each fits some records only; ask the user.
    """
    # Asked of the head alone first: a pipe that is still being written to must not wait.
    first = _first(head[: head.rfind(b"\n") + 1], reading)
    windows = _windows(head, more)
    window = next(windows, b"") if first is None or not _reads(first, "iso") else b""
    first = first or _first(window, reading)
    if first is None or _reads(first, "iso"):
        return "iso"
    example = _example(first, window, reading)
    separator = ord(next(character for character in example if character in "-/."))
    while window:
        found = _evidence(window, reading, separator)
        if len(found) == 2:
            one, other = (found[dates] for dates in _ORDERS)
            raise ConfigError(
                f"{name}: dates must be all month-first or all day-first; got {one} and {other}; "
                "say which is right: --dates month-first or --dates day-first"
            )
        if found:
            return next(iter(found))
        window = next(windows, b"")
    raise ConfigError(
        f"{name}: dates such as {example} can be read month-first or day-first; "
        "say which: --dates month-first or --dates day-first"
    )


def _windows(head: bytes, more: Callable[[], bytes]) -> Iterator[bytes]:
    """Cut a source into windows of whole lines, the same ones whatever its chunks are."""
    kept, is_ended = bytearray(head), False
    while kept or not is_ended:
        while len(kept) < WINDOW and not is_ended:
            piece = more()
            is_ended = not piece
            kept += piece
        end = len(kept) if is_ended and len(kept) <= WINDOW else kept.rfind(b"\n", 0, WINDOW) + 1
        # A line longer than a window is no record; what follows it is looked at as it comes.
        end = end or WINDOW
        if window := bytes(kept[:end]):
            yield window
        del kept[:end]


def _times(window: bytes, reading: Reading) -> Iterator[object]:
    """Yield the times of a window's records as they stand there, skipping odd records."""
    if reading.format == "jsonl":
        for line in window.split(b"\n"):
            yield _json_time(line, reading)
        return
    place = reading.places["time"]
    rows = csv.reader(io.StringIO(window.decode("iso-8859-1"), newline="\n"), reading.dialect)
    while True:
        try:
            row = next(rows)
        except csv.Error:
            continue
        except StopIteration:
            return
        if len(row) == len(reading.header):
            yield row[place]


def _json_time(line: bytes, reading: Reading) -> object:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found.get(reading.columns["time"]) if isinstance(found, dict) else None


def _reads(time: str, dates: str) -> bool:
    try:
        parse_time(time, dates)
    except DataError:
        return False
    return True


def _first(window: bytes, reading: Reading) -> str | None:
    """Return the first readable time; epoch seconds as the date that they begin at."""
    for time in _times(window, reading):
        if type(time) is int:
            return "1970-01-01"
        if isinstance(time, str) and any(_reads(time, dates) for dates in DATES):
            return time
    return None


def _example(first: str, window: bytes, reading: Reading) -> str:
    """Return a date that shows the user what the question is about; 1/1/2011 would not."""
    for time in _times(window, reading):
        if isinstance(time, str) and (found := _LOCAL_DATE.search(time)):
            day, other = found[0].split(found[1])[:2]
            if int(day) != int(other):
                return found[0]
    return _date(first)


def _date(time: str) -> str:
    found = _LOCAL_DATE.search(time)
    return found[0] if found else time


def _evidence(window: bytes, reading: Reading, separator: int) -> dict[str, str]:
    """Return the orders that some record of a window is proof of, each with that record's date."""
    if reading.format == "jsonl":
        window = window.replace(rb"\/", b"/")
    found = {}
    for dates, offsets in _unambiguous(window, separator).items():
        for at in offsets:
            # Something like a date in a description is proof of nothing.
            time = _time_around(window, int(at), reading)
            if isinstance(time, str) and [_reads(time, each) for each in _ORDERS] == [
                each == dates for each in _ORDERS
            ]:
                found[dates] = _date(time)
                break
    return found


def _unambiguous(window: bytes, separator: int) -> dict[str, Ints]:
    """Find what looks like a date in which one of day and month is above 12.

    Returns:
        By order, offsets of the first separator of each, shape (dates,), ascending.
    """
    # Padded so that looking around a separator never leaves the array.
    text = np.frombuffer(b"  " + window + b"     ", np.uint8)
    at = np.flatnonzero(text == separator)
    gap = np.diff(at)
    at = at[:-1][(gap == 2) | (gap == 3)]
    end = at + np.where(text[at + 2] == separator, 2, 3)
    is_date = _is_digit(text[at - 1]) & _is_digit(text[at + 1]) & _is_digit(text[end - 1])
    for step in range(1, 5):
        is_date &= _is_digit(text[end + step])
    at, end = at[is_date], end[is_date]
    front = _number(text[at - 2], text[at - 1])
    back = _number(text[end - 2], text[end - 1])
    return {
        "month-first": at[(front <= 12) & (back > 12)] - 2,
        "day-first": at[(front > 12) & (back <= 12)] - 2,
    }


def _is_digit(byte: Bytes) -> NDArray[np.bool_]:
    return (byte >= 48) & (byte <= 57)


def _number(tens: Bytes, ones: Bytes) -> Ints:
    """Return one- or two-digit numbers, shape (dates,); `tens` may be anything but a digit."""
    return np.where(_is_digit(tens), tens.astype(np.int64) - 48, 0) * 10 + (
        ones.astype(np.int64) - 48
    )


def _time_around(window: bytes, at: int, reading: Reading) -> object:
    """Return the time of the record that holds a byte, or None if it is not found."""
    start = window.rfind(b"\n", 0, at) + 1
    end = window.find(b"\n", at)
    end = len(window) if end < 0 else end
    if reading.format == "jsonl":
        return _json_time(window[start:end], reading)
    for _ in range(_LINES_BACK):
        text = window[start:end].decode("iso-8859-1")
        rows = csv.reader(io.StringIO(text, newline="\n"), reading.dialect)
        try:
            row = next(rows, [])
        except csv.Error:
            row = []
        if len(row) == len(reading.header):
            return row[reading.places["time"]]
        if not start:
            break
        start = window.rfind(b"\n", 0, start - 1) + 1
    return None
