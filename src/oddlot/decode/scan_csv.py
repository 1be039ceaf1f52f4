"""The compiled scan of CSV: where records end, and the lines of those that are plain."""

import numpy as np

from oddlot.decode.scan import (
    MAX_RECORD,
    PADDING,
    SIZE,
    is_as_kept,
    read_line,
    read_split,
    set_field,
)
from oddlot.engine.compiled import (
    address,
    beyond_ascii64,
    compiled,
    count_bits,
    equal64,
    inlined,
    load8,
    load32,
    mark64,
    outlined,
    store8,
    store32,
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
                store32(comma, 4 * (commas + j + step), i + np.int64(trailing_zeros(commas_here)))
                commas_here &= commas_here - _ONE
            j += 8
            if j >= found:
                break
        commas += found
        found = count_bits(others_here)
        j = np.int64(0)
        while True:
            for step in range(2):
                store32(other, 4 * (others + j + step), i + np.int64(trailing_zeros(others_here)))
                others_here &= others_here - _ONE
            j += 2
            if j >= found:
                break
        others += found
        i += 64
    store32(other, 4 * others, stop)
    return beyond != _ZERO, commas


@inlined
def field(comma, k, column, start, end):
    """Return where a field of the record whose first delimiter is `k` begins and ends."""
    if column < 0:
        return start, start
    return load32(comma, 4 * (k + column - 1)) + 1, min(load32(comma, 4 * (k + column)), end)


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
        c = load8(text, i)
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
        while i < stop and load8(text, i) != _LF and load8(text, i) != _CR:
            i += 1
    if i >= stop:
        return stop, (stop if is_last else np.int64(-1))
    if load8(text, i) == _LF:
        return i, i + 1
    if i + 1 < stop:
        return i, (i + 2 if load8(text, i + 1) == _LF else i + 1)
    return i, (i + 1 if is_last else np.int64(-1))


@outlined
def split_quoted(text, at, stop, delimiter, width, notes):
    """Split text[at:stop], one record, where its fields are quoted simply.

    A field is either without quotes, or it is quoted as a whole and has no quote inside: then
    what is between the quotes is its value as it stands.

    Returns:
        Whether the record has `width` such fields; their places are noted.
    """
    i = at
    for j in range(width):
        if j > 0:
            if i >= stop or load8(text, i) != delimiter:
                return False
            i += 1
        is_quoted = i < stop and load8(text, i) == _QUOTE
        if is_quoted:
            i += 1
        begin = i
        while i < stop:
            c = load8(text, i)
            if c == _QUOTE:
                if not is_quoted:
                    return False
                break
            if c == delimiter and not is_quoted:
                break
            if c < _BLANK and c != delimiter:
                return False
            i += 1
        set_field(notes, j, begin, i)
        if is_quoted:
            if i >= stop or load8(text, i) != _QUOTE:
                return False
            i += 1
    return i == stop


@outlined
def rewrite(text, at, stop, delimiter, width, notes, out, is_latin):
    """Write the fields of the record text[at:stop] to text[out:], unquoted and as UTF-8.

    Args:
        text: updated in place; must have room for twice the record.
        at, stop, delimiter, width, notes: as for split_quoted.
        out: where the fields are written to.
        is_latin: whether the record is ISO-8859-1.

    Returns:
        Where the fields end; -1 where the slow path must judge the record.
    """
    state = _AT_START
    j = 0
    begin = out
    for i in range(at, stop):
        c = load8(text, i)
        if c == 0:
            return np.int64(-1)
        if state == _QUOTED:
            if c == _QUOTE:
                state = _AFTER_QUOTE
                continue
        elif c == delimiter:
            set_field(notes, j, begin, out)
            j += 1
            if j == width:
                return np.int64(-1)
            begin = out
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
            store8(text, out, np.uint8(0xC0) | (c >> np.uint8(6)))
            out += 1
            c = np.uint8(0x80) | (c & np.uint8(0x3F))
        store8(text, out, c)
        out += 1
    set_field(notes, j, begin, out)
    return out if j == width - 1 and state != _QUOTED else np.int64(-1)


@outlined
def read_odd(text, start, end, extra, room, delimiter, width, encoding, roles, dates, row, notes):
    """Read a record that is not plain into a row, where no judge is needed.

    Returns:
        Where in text the next record can be rewritten to; -1 where the slow path must judge.
    """
    has_price, is_epoch = load32(roles, 16) >= 0, dates < 0
    is_kept = is_as_kept(text, start, end, encoding)
    if end - start >= MAX_RECORD or (encoding == 1 and not is_kept):
        return np.int64(-1)
    if is_kept and split_quoted(text, start, end, delimiter, width, notes):
        if read_split(text, row, start, roles, has_price, is_epoch, dates, notes):
            return extra
        return np.int64(-1)
    if extra + 2 * (end - start) > room or 2 * (end - start) >= MAX_RECORD:
        return np.int64(-1)
    out = rewrite(text, start, end, delimiter, width, notes, extra, not is_kept)
    if out < 0:
        return out
    row.text = extra
    if read_split(text, row, extra, roles, has_price, is_epoch, dates, notes):
        return out
    return np.int64(-1)


@outlined
def count_line_ends(text, start, end):
    """Count the line ends within a record: line feeds, carriage returns, or both together."""
    count = np.int64(0)
    for i in range(start, end):
        if load8(text, i) == _LF or (load8(text, i) == _CR and load8(text, i + 1) != _LF):
            count += 1
    return count


@compiled
def scan_csv(
    heap, at, stop, is_last, extra, delimiter, width, encoding, role, dates, position, number,
    source, line, odd, comma_list, other_list, note,
):  # fmt: skip
    """Turn the complete records of heap[at:stop] into lines.

    Args:
        heap: shape (bytes,), uint8; zero for 64 bytes past `stop`; updated in place from
            `extra` on, where fields are written that are not as they are read.
        at, stop: where to begin and end.
        is_last: whether the source ends at `stop`, so that a last record needs no line end.
        extra: see heap.
        delimiter: uint8, the byte between fields.
        width: how many fields a record has.
        encoding: 0 auto, 1 utf-8, 2 iso-8859-1.
        role: nine int32 as bytes, the column of each of schema.ROLES, or -1.
        dates: 0 iso, 1 month-first, 2 day-first.
        position, number: byte offset and line number in the source of load8(text, at).
        source: the source's number.
        line: shape (capacity,), dtype LINE, updated in place.
        odd: shape (capacity, 3), int64, updated in place: index into line, start and stop of
            each record that the slow path must judge.
        comma_list, other_list: room for stop - at + width + 16 marks, int32 as bytes.
        note: FIELDS bytes and eight for each field; what was noted of other records does not
            matter.

    Returns:
        How many lines, how many odd records, where the scan stopped, the next line number,
        where what was written from `extra` on ends.
    """
    text, roles, notes = address(heap), address(role), address(note)
    comma, other = address(comma_list), address(other_list)
    room = np.int64(len(heap) - PADDING)
    beyond, commas = mark(text, at, stop, delimiter, comma, other)
    store32(notes, SIZE, -1)
    for j in range(width):
        store32(comma, 4 * (commas + j), _FAR)
    k = np.int64(1)  # the next delimiter
    m = np.int64(0)  # the next other mark
    start = np.int64(at)
    count, odd_count = np.int64(0), np.int64(0)
    has_price = load32(roles, 16) >= 0
    is_epoch = dates < 0  # never; a constant would make read_line another function than JSON's
    capacity = min(len(line), len(odd))
    while count < capacity and start < stop:
        end = load32(other, 4 * m)
        after = end + 1
        used = 1
        c = load8(text, end)
        store32(comma, 4 * (k - 1), start - 1)
        is_plain = (
            load32(comma, 4 * (k + width - 2)) < end and load32(comma, 4 * (k + width - 1)) > end
        )
        if c != _LF:
            if c != _CR or after >= stop:
                is_plain = False
            elif load8(text, after) == _LF:
                after += 1
                used = 2
        row = line[count]
        row.position = position + (start - at)
        row.number = number
        row.source = source
        row.text = start
        if is_plain and end - start < MAX_RECORD and end > start:
            if read_line(
                text,
                row,
                start,
                field(comma, k, load32(roles, 0), start, end),
                field(comma, k, load32(roles, 4), start, end),
                field(comma, k, load32(roles, 8), start, end),
                field(comma, k, load32(roles, 12), start, end),
                field(comma, k, load32(roles, 16), start, end),
                field(comma, k, load32(roles, 20), start, end),
                field(comma, k, load32(roles, 24), start, end),
                field(comma, k, load32(roles, 28), start, end),
                field(comma, k, load32(roles, 32), start, end),
                has_price,
                is_epoch,
                dates,
                notes,
            ) and (not beyond or is_as_kept(text, start, end, encoding)):
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
                text, start, end, extra, room, delimiter, width, encoding, roles, dates, row,
                notes,
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
        while load32(comma, 4 * k) < start:
            k += 1
        while load32(other, 4 * m) < start:
            m += 1
    return count, odd_count, start, number, extra
