"""The compiled scan of CSV: where records end, and the lines of those that are plain."""

import numpy as np

from oddlot.decode.scan import MAX_RECORD, PADDING, is_as_kept, new_memo, read_line, read_split
from oddlot.engine.compiled import (
    beyond_ascii64,
    compiled,
    count_bits,
    equal64,
    inlined,
    item,
    mark64,
    outlined,
    set_item,
    trailing_zeros,
)

_LF, _CR, _QUOTE, _BLANK = np.uint8(10), np.uint8(13), np.uint8(34), np.uint8(32)
_ONE, _ZERO = np.uint64(1), np.uint64(0)
_FAR = np.int64(2**31 - 1)

# Where one is in a field, by the states of Python's csv module.
_AT_START, _UNQUOTED, _QUOTED, _AFTER_QUOTE = range(4)


@inlined
def mark(text, at, stop, delimiter, comma, other):
    """List the places in text[at:stop] of delimiters, and of quotes and control bytes.

    Each is listed as int32 and may be written to eight places past its end. The first place in
    `comma` is left free; the last one in `other` is `stop`.

    Returns:
        Whether there was a byte beyond ASCII, and where the list of delimiters ends.
    """
    commas, others = np.int64(1), np.int64(0)
    beyond = _ZERO
    i = at
    while i < stop:
        commas_here = equal64(text, i, delimiter)
        others_here = mark64(text, i, delimiter) & ~commas_here
        beyond |= beyond_ascii64(text, i)
        if stop - i < 64:
            inside = (_ONE << np.uint64(stop - i)) - _ONE
            commas_here &= inside
            others_here &= inside
        found = count_bits(commas_here)
        # Eight at a time without asking: a branch for each bit would often be guessed wrong.
        j = np.int64(0)
        while True:
            for step in range(8):
                set_item(comma, commas + j + step, i + np.int64(trailing_zeros(commas_here)))
                commas_here &= commas_here - _ONE
            j += 8
            if j >= found:
                break
        commas += found
        found = count_bits(others_here)
        j = np.int64(0)
        while True:
            for step in range(2):
                set_item(other, others + j + step, i + np.int64(trailing_zeros(others_here)))
                others_here &= others_here - _ONE
            j += 2
            if j >= found:
                break
        others += found
        i += 64
    set_item(other, others, stop)
    return beyond != _ZERO, commas


@inlined
def field(comma, k, column, start, end):
    """Return where a field of the record whose first delimiter is `k` begins and ends."""
    if column < 0:
        return start, start
    return item(comma, k + column - 1) + 1, min(item(comma, k + column), end)


@outlined
def record_end(text, start, stop, delimiter, is_last):
    """Find where a record ends, and where the next begins.

    A record ends at a line feed, a carriage return or both, outside quotes as Python's csv module
    sees them. One that has no end within MAX_RECORD bytes, or a quote still open at the end of
    the source, is cut off at the end of its first line, whatever its quotes say.

    Returns:
        The end, and the next record's start: -1 where that is not known yet.
    """
    limit = min(stop, start + MAX_RECORD + 1)
    state = _AT_START
    i = start
    while i < limit:
        c = text[i]
        if state == _QUOTED:
            if c == _QUOTE:
                state = _AFTER_QUOTE
        elif c == _LF or c == _CR:
            break
        elif c == delimiter:
            state = _AT_START
        elif c == _QUOTE and (state == _AT_START or state == _AFTER_QUOTE):
            state = _QUOTED
        else:
            state = _UNQUOTED
        i += 1
    if i == limit:
        if stop - start <= MAX_RECORD:
            if not is_last:
                return start, np.int64(-1)
            if state != _QUOTED:
                return stop, stop
        i = start
        while i < stop and text[i] != _LF and text[i] != _CR:
            i += 1
    if i >= stop:
        return stop, (stop if is_last else np.int64(-1))
    if text[i] == _LF:
        return i, i + 1
    if i + 1 < stop:
        return i, (i + 2 if text[i + 1] == _LF else i + 1)
    return i, (i + 1 if is_last else np.int64(-1))


@outlined
def split_quoted(text, at, stop, delimiter, width, begins, ends):
    """Split text[at:stop], one record, where its fields are quoted simply.

    A field is either without quotes, or it is quoted as a whole and has no quote inside: then
    what is between the quotes is its value as it stands.

    Returns:
        Whether the record has `width` such fields; begins and ends are updated in place.
    """
    i = at
    for j in range(width):
        if j > 0:
            if i >= stop or text[i] != delimiter:
                return False
            i += 1
        is_quoted = i < stop and text[i] == _QUOTE
        if is_quoted:
            i += 1
        begins[j] = i
        while i < stop:
            c = text[i]
            if c == _QUOTE:
                if not is_quoted:
                    return False
                break
            if c == delimiter and not is_quoted:
                break
            if c < _BLANK and c != delimiter:
                return False
            i += 1
        ends[j] = i
        if is_quoted:
            if i >= stop or text[i] != _QUOTE:
                return False
            i += 1
    return i == stop


@outlined
def rewrite(text, at, stop, delimiter, width, begins, ends, out, is_latin):
    """Write the fields of the record text[at:stop] to text[out:], unquoted and as UTF-8.

    Args:
        text: updated in place; must have room for twice the record.
        at, stop, delimiter, width, begins, ends: as for split_quoted.
        out: where the fields are written to.
        is_latin: whether the record is ISO-8859-1.

    Returns:
        Where the fields end; -1 where the slow path must judge the record.
    """
    state = _AT_START
    j = 0
    begins[0] = out
    for i in range(at, stop):
        c = text[i]
        if c == 0:
            return np.int64(-1)
        if state == _QUOTED:
            if c == _QUOTE:
                state = _AFTER_QUOTE
                continue
        elif c == delimiter:
            ends[j] = out
            j += 1
            if j == width:
                return np.int64(-1)
            begins[j] = out
            state = _AT_START
            continue
        elif c == _QUOTE and state == _AT_START:
            state = _QUOTED
            continue
        elif c == _QUOTE and state == _AFTER_QUOTE:
            state = _QUOTED
        else:
            state = _UNQUOTED
        if is_latin and c >= 128:
            text[out] = np.uint8(0xC0) | (c >> np.uint8(6))
            out += 1
            c = np.uint8(0x80) | (c & np.uint8(0x3F))
        text[out] = c
        out += 1
    ends[j] = out
    return out if j == width - 1 and state != _QUOTED else np.int64(-1)


@outlined
def read_odd(
    text, start, end, extra, delimiter, width, encoding, roles, begins, ends, dates, row, memo
):
    """Read a record that is not plain into a row, where no judge is needed.

    Returns:
        Where in text the next record can be rewritten to; -1 where the slow path must judge.
    """
    has_price = roles[4] >= 0
    is_kept = is_as_kept(text, start, end, encoding)
    if end - start >= MAX_RECORD or (encoding == 1 and not is_kept):
        return np.int64(-1)
    if is_kept and split_quoted(text, start, end, delimiter, width, begins, ends):
        if read_split(text, row, start, begins, ends, roles, has_price, False, dates, memo):
            return extra
        return np.int64(-1)
    if extra + 2 * (end - start) + PADDING > len(text) or 2 * (end - start) >= MAX_RECORD:
        return np.int64(-1)
    out = rewrite(text, start, end, delimiter, width, begins, ends, extra, not is_kept)
    if out < 0:
        return out
    row.text = extra
    if read_split(text, row, extra, begins, ends, roles, has_price, False, dates, memo):
        return out
    return np.int64(-1)


@outlined
def count_line_ends(text, start, end):
    """Count the line ends within a record: line feeds, carriage returns, or both together."""
    count = np.int64(0)
    for i in range(start, end):
        if text[i] == _LF or (text[i] == _CR and text[i + 1] != _LF):
            count += 1
    return count


@compiled
def scan_csv(
    text, at, stop, is_last, extra, delimiter, width, encoding, roles, dates, position, number,
    source, line, odd, comma, other,
):  # fmt: skip
    """Turn the complete records of text[at:stop] into lines.

    Args:
        text: shape (bytes,), uint8; zero for 64 bytes past `stop`; updated in place from
            `extra` on, where fields are written that are not as they are read.
        at, stop: where to begin and end.
        is_last: whether the source ends at `stop`, so that a last record needs no line end.
        extra: see text; from there on to 64 bytes from the end.
        delimiter: uint8, the byte between fields.
        width: how many fields a record has.
        encoding: 0 auto, 1 utf-8, 2 iso-8859-1.
        roles: shape (9,), int64, the column of each of schema.ROLES, or -1.
        dates: 0 iso, 1 month-first, 2 day-first.
        position, number: byte offset and line number in the source of text[at].
        source: the source's number.
        line: shape (capacity,), dtype LINE, updated in place.
        odd: shape (capacity, 3), int64, updated in place: index into line, start and stop of
            each record that the slow path must judge.
        comma, other: shape (stop - at + width + 64,), int32, for marks; overwritten.

    Returns:
        How many lines, how many odd records, where the scan stopped, the next line number,
        where what was written from `extra` on ends.
    """
    beyond, commas = mark(text, at, stop, delimiter, comma, other)
    for j in range(width):
        set_item(comma, commas + j, _FAR)
    k = np.int64(1)  # the next delimiter
    m = np.int64(0)  # the next other mark
    start = np.int64(at)
    count, odd_count = np.int64(0), np.int64(0)
    begins = np.empty(width, np.int64)
    ends = np.empty(width, np.int64)
    memo = new_memo()
    has_price = roles[4] >= 0
    capacity = min(len(line), len(odd))
    while count < capacity and start < stop:
        end = item(other, m)
        after = end + 1
        used = 1
        c = text[end]
        set_item(comma, k - 1, start - 1)
        is_plain = item(comma, k + width - 2) < end and item(comma, k + width - 1) > end
        if c != _LF:
            if c != _CR or after >= stop:
                is_plain = False
            elif text[after] == _LF:
                after += 1
                used = 2
        row = line[count]
        row.position = position + (start - at)
        row.number = number
        row.source = source
        row.text = start
        if is_plain and end - start < MAX_RECORD and end > start:
            if (
                read_line(
                    text,
                    row,
                    start,
                    field(comma, k, roles[0], start, end),
                    field(comma, k, roles[1], start, end),
                    field(comma, k, roles[2], start, end),
                    field(comma, k, roles[3], start, end),
                    field(comma, k, roles[4], start, end),
                    field(comma, k, roles[5], start, end),
                    field(comma, k, roles[6], start, end),
                    field(comma, k, roles[7], start, end),
                    field(comma, k, roles[8], start, end),
                    has_price,
                    False,
                    dates,
                    memo,
                )
                and (not beyond or is_as_kept(text, start, end, encoding))
            ):
                count += 1
                number += 1
                start = after
                k += width - 1
                m += used
                continue
        end, after = record_end(text, start, stop, delimiter, is_last)
        if after < 0:
            break
        if end > start:
            out = read_odd(
                text, start, end, extra, delimiter, width, encoding, roles, begins, ends, dates,
                row, memo,
            )  # fmt: skip
            if out >= 0:
                extra = out
                row.slow = 1
            else:
                odd[odd_count, 0] = count
                odd[odd_count, 1] = start
                odd[odd_count, 2] = end
                odd_count += 1
            count += 1
        number += 1 + count_line_ends(text, start, end)
        start = after
        while item(comma, k) < start:
            k += 1
        while item(other, m) < start:
            m += 1
    return count, odd_count, start, number, extra
