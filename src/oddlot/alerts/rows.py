"""The rows of a rule as text: CSV or JSON Lines, at full speed."""

from __future__ import annotations

from typing import Any

import numpy as np

from oddlot.engine.compiled import compiled, inlined, load64, store64
from oddlot.schema import Bytes, Lines

FORMATS = ("csv", "jsonl")
COLUMNS = ("InvoiceNo", "StockCode", "Description", "InvoiceDate", "Quantity")
_SPARE = 64  # bytes past the end that a copy by words may write
_NUMBERS = 160  # bytes that the time and the numbers of a row take, at most
_COMMA, _QUOTE, _BACKSLASH, _LF, _CR = (np.uint8(c) for c in b',"\\\n\r')
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8).copy()
_NO_DECIMALS = np.frombuffer(b".000000\0", np.uint8).copy()
_DAY_US = np.int64(86_400_000_000)


@inlined
def _copy(text, at, size, out, to):
    """Copy by words; up to seven bytes too many, which the next write covers."""
    i = 0
    while i < size:
        store64(out, to + i, load64(text, at + i))
        i += 8
    return to + size


@compiled
def _copy_csv(text, at, size, out, to):
    """Copy a field that may need quotes."""
    needs = False
    for i in range(size):
        c = text[at + i]
        needs = needs or c == _COMMA or c == _QUOTE or c == _LF or c == _CR
    if not needs:
        return _copy(text, at, size, out, to)
    out[to] = _QUOTE
    to += 1
    for i in range(size):
        if text[at + i] == _QUOTE:
            out[to] = _QUOTE
            to += 1
        out[to] = text[at + i]
        to += 1
    out[to] = _QUOTE
    return to + 1


@compiled
def _copy_json(text, at, size, out, to):
    """Copy a field as the inside of a JSON string."""
    for i in range(size):
        c = text[at + i]
        if c == _QUOTE or c == _BACKSLASH:
            out[to] = _BACKSLASH
            out[to + 1] = c
            to += 2
        elif c < np.uint8(32):
            out[to] = _BACKSLASH
            out[to + 1] = np.uint8(117)
            out[to + 2] = np.uint8(48)
            out[to + 3] = np.uint8(48)
            out[to + 4] = _HEX[c >> np.uint8(4)]
            out[to + 5] = _HEX[c & np.uint8(15)]
            to += 6
        else:
            out[to] = c
            to += 1
    return to


@inlined
def _write_digits(value, width, out, to):
    for i in range(width):
        out[to + width - 1 - i] = np.uint8(48 + value % 10)
        value //= 10
    return to + width


@inlined
def _write_integer(value, out, to):
    if value < 0:
        out[to] = np.uint8(45)
        to += 1
        value = -value
    if value < 10:
        out[to] = np.uint8(48 + value)
        return to + 1
    size = 1
    limit = np.int64(10)
    while size < 19 and value >= limit:
        limit *= 10
        size += 1
    return _write_digits(value, size, out, to)


@compiled
def _write_time(time_us, out, to):
    """Write `YYYY-MM-DD HH:MM:SS`, with six decimals where there are any.

    Source:
        Hinnant (2013), chrono-compatible low-level date algorithms, civil_from_days.
    """
    days = time_us // _DAY_US
    rest = time_us - days * _DAY_US
    z = days + 719_468
    era = z // 146_097
    day_of_era = z - era * 146_097
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    to = _write_digits(year, 4, out, to)
    out[to] = np.uint8(45)
    to = _write_digits(month, 2, out, to + 1)
    out[to] = np.uint8(45)
    to = _write_digits(day_of_year - (153 * shifted + 2) // 5 + 1, 2, out, to + 1)
    out[to] = np.uint8(32)
    seconds = rest // 1_000_000
    to = _write_digits(seconds // 3600, 2, out, to + 1)
    out[to] = np.uint8(58)
    to = _write_digits(seconds // 60 % 60, 2, out, to + 1)
    out[to] = np.uint8(58)
    to = _write_digits(seconds % 60, 2, out, to + 1)
    if rest != seconds * 1_000_000:
        out[to] = np.uint8(46)
        to = _write_digits(rest - seconds * 1_000_000, 6, out, to + 1)
    return to


@inlined
def _write_average(total, count, out, to):
    """Write total / count with six decimals, exact, half to even."""
    if total < 0:
        out[to] = np.uint8(45)
        to += 1
        total = -total
    if count == 1:
        to = _write_integer(total, out, to)
        return _copy(_NO_DECIMALS, 0, 7, out, to)
    whole = total // count
    rest = total - whole * count
    scaled = rest * 1_000_000
    micros = scaled // count
    left = 2 * (scaled - micros * count)
    if left > count or (left == count and micros % 2 == 1):
        micros += 1
    if micros == 1_000_000:
        whole += 1
        micros = np.int64(0)
    to = _write_integer(whole, out, to)
    out[to] = np.uint8(46)
    return _write_digits(micros, 6, out, to + 1)


@compiled
def _write_rows(line, text, order, found, is_json, is_plain, piece, ends, out):
    """Write the lines that fire; piece[ends[i - 1]:ends[i]] stands before the i-th value."""
    to = np.int64(0)
    last_time = np.int64(-(2**62))
    time_at, time_size = np.int64(0), np.int64(0)
    stamp = np.zeros(64, np.uint8)
    for k in range(len(order)):
        if found[k].fires == 0:
            continue
        row = line[order[k]]
        to = _copy(piece, 0, ends[0], out, to)
        for value in range(3):
            if value == 0:
                at, size = row.text + np.int64(row.invoice_at), np.int64(row.invoice_size)
            elif value == 1:
                at, size = row.text + np.int64(row.sku_at), np.int64(row.sku_size)
            else:
                at = row.text + np.int64(row.description_at)
                size = np.int64(row.description_size)
            if is_json:
                to = _copy_json(text, at, size, out, to)
            elif is_plain and row.slow == 0:
                to = _copy(text, at, size, out, to)
            else:
                to = _copy_csv(text, at, size, out, to)
            to = _copy(piece, ends[value], ends[value + 1] - ends[value], out, to)
        if row.time_us != last_time:
            last_time = row.time_us
            time_size = _write_time(last_time, stamp, time_at)
        to = _copy(stamp, 0, time_size, out, to)
        to = _copy(piece, ends[3], ends[4] - ends[3], out, to)
        to = _write_integer(row.quantity, out, to)
        to = _copy(piece, ends[4], ends[5] - ends[4], out, to)
        to = _write_integer(found[k]["sum"], out, to)
        to = _copy(piece, ends[5], ends[6] - ends[5], out, to)
        to = _write_integer(found[k].count, out, to)
        to = _copy(piece, ends[6], ends[7] - ends[6], out, to)
        to = _write_average(found[k]["sum"], found[k].count, out, to)
        to = _copy(piece, ends[7], ends[8] - ends[7], out, to)
    return to


class RowWriter:
    """Writes what a rule found as text rows.

    Attributes:
        header: what stands at the beginning of a file.
    """

    def __init__(self, file_format: str, columns: tuple[str, ...], delimiter: str = ",") -> None:
        """Prepare the pieces between the values.

        Args:
            file_format: "csv" or "jsonl".
            columns: names of the rule's own columns: a sum, a count and an average.
            delimiter: what separates fields in the source; with a comma, fields that the
                source did not quote need no quotes here.
        """
        names = (*COLUMNS, *columns)
        self._is_json = file_format == "jsonl"
        self._is_plain = delimiter == ","
        if self._is_json:
            quoted = [True] * 4 + [False] * 4
            pieces, closing = [], "{"
            for name, is_text in zip(names, quoted, strict=True):
                pieces.append(f'{closing}"{name}": ' + ('"' if is_text else ""))
                closing = '", ' if is_text else ", "
            pieces.append("}\n")
            self.header = b""
        else:
            pieces = ["", *[","] * 7, "\n"]
            self.header = (",".join(names) + "\n").encode()
        data = "".join(pieces).encode()
        self._ends = np.cumsum([len(piece) for piece in pieces])
        self._piece = np.zeros(len(data) + _SPARE, np.uint8)
        self._piece[: len(data)] = np.frombuffer(data, np.uint8)
        self._out: Bytes = np.empty(1 << 16, np.uint8)

    def write(self, lines: Lines, order: Any, found: Any) -> memoryview:
        """Return the rows of the lines that fire; valid until the next call.

        Args:
            lines: a batch.
            order: shape (released,), places in `lines`.
            found: shape (released,), dtype RULE_FOUND.
        """
        fixed = _NUMBERS + int(self._ends[-1])
        # A control byte becomes six in JSON; a quote two in CSV. One column of the source may
        # be all three texts.
        factor = 3 * (6 if self._is_json else 2)
        room = factor * len(lines.text) + fixed * len(order) + _SPARE
        if room > len(self._out):
            self._out = np.empty(room, np.uint8)  # most of it is never touched
        size = _write_rows(
            lines.line,
            lines.text,
            order,
            found,
            self._is_json,
            self._is_plain,
            self._piece,
            self._ends,
            self._out,
        )
        return memoryview(self._out)[:size]  # type: ignore[arg-type]
