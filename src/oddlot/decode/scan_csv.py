"""The compiled scan of plain CSV: where records end, and the lines of those that are plain."""

import numpy as np

from oddlot.decode.scan import MAX_RECORD, is_utf8, mark, new_memo, read_line, read_split
from oddlot.engine.compiled import compiled, inlined, outlined

_LF, _CR, _QUOTE, _BLANK = np.uint8(10), np.uint8(13), np.uint8(34), np.uint8(32)
_BLOCK = 16_384  # bytes marked at a time: the marks of a block stay in the first-level cache


@inlined
def field(marks, k, column, start):
    """Return where a field of the record whose first mark is `k` begins and ends."""
    if column < 0:
        return start, start
    return np.int64(marks[k + column - 1]) + 1, np.int64(marks[k + column])


@outlined
def quoted_end(text, at, stop, delimiter):
    """Find the end of a record that holds quotes, by the states of Python's csv module.

    Returns the place of the line end; `stop` if there is none; -2 if there is none and a quote
    is open; -1 if a quote stays open for longer than a record may be.
    """
    i = at
    field_starts = True
    is_open = False
    while i < stop:
        c = text[i]
        if is_open:
            if c == _QUOTE:
                if i + 1 < stop and text[i + 1] == _QUOTE:
                    i += 1
                else:
                    is_open = False
        elif c == _LF or c == _CR:
            return i
        elif c == delimiter:
            field_starts = True
            i += 1
            continue
        elif c == _QUOTE and field_starts:
            is_open = True
        field_starts = False
        i += 1
        if i - at > MAX_RECORD and is_open:
            return np.int64(-1)
    return np.int64(-2) if is_open else np.int64(stop)


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
            if c < _BLANK or (c == delimiter and not is_quoted):
                break
            i += 1
        ends[j] = i
        if is_quoted:
            if i >= stop or text[i] != _QUOTE:
                return False
            i += 1
    return i == stop


@outlined
def odd_end(text, start, stop, delimiter, is_last):
    """Find where a record that is not plain ends, and where the next begins.

    Returns the end, the next record's start (-1 where the record is not complete yet), and 1
    if a quote in it never closes: such a quote spoils its own line only.
    """
    end = quoted_end(text, start, stop, delimiter)
    is_open = np.int64(0)
    if end == -1 or end == -2:
        if end == -2 and not is_last:
            return start, np.int64(-1), is_open
        is_open = np.int64(1)
        end = start
        while end < stop and text[end] != _LF:
            end += 1
    elif end == stop:
        return end, (stop if is_last else np.int64(-1)), is_open
    if end < stop and text[end] == _CR:
        if end + 1 == stop and not is_last:
            return end, np.int64(-1), is_open
        if end + 1 < stop and text[end + 1] == _LF:
            return end, end + 2, is_open
    return end, min(end + 1, stop), is_open


@compiled
def scan_csv(
    text, at, stop, is_last, delimiter, width, roles, dates, position, number, source, line, odd
):
    """Turn the complete records of text[at:stop] into lines.

    Args:
        text: shape (bytes,), uint8; padded by 64 bytes past `stop`.
        at, stop: where to begin and end.
        is_last: whether the source ends at `stop`, so that a last record needs no line end.
        delimiter: uint8, the byte between fields.
        width: how many fields a record has.
        roles: shape (9,), int64, the column of each of schema.ROLES, or -1.
        dates: 0 iso, 1 month-first, 2 day-first.
        position, number: byte offset and line number in the source of text[at].
        source: the source's number.
        line: shape (capacity,), dtype LINE, updated in place.
        odd: shape (capacity, 4), int64, updated in place: index into line, start and stop of
            each record that the slow path must judge, and 1 if its quote never closes.

    Returns:
        How many lines, how many odd records, where the scan stopped, the next line number.
    """
    marks = np.empty(_BLOCK + 2 * width + 64, np.int32)
    have = np.int64(1)  # marks known; the first is the byte before the record at hand
    k = np.int64(1)  # the next mark
    marked = np.int64(at)  # text before this is marked
    start = np.int64(at)
    count = np.int64(0)
    odd_count = np.int64(0)
    begins = np.empty(width, np.int64)
    ends = np.empty(width, np.int64)
    memo = new_memo()
    beyond = False
    capacity = min(len(line), len(odd))
    while count < capacity and start < stop:
        # Room for one more plain record: its delimiters, a carriage return and a line feed.
        if k + width + 1 > have and marked < stop:
            keep = have - k
            if keep > width + 1:
                keep = np.int64(0)
            for j in range(keep):
                marks[1 + j] = marks[k + j]
            k = np.int64(1)
            ahead = min(stop, marked + _BLOCK)
            have, block_beyond = mark(text, marked, ahead, delimiter, marks, 1 + keep)
            # A record can begin in the block before.
            beyond = block_beyond or (beyond and start < marked)
            marked = ahead
            continue
        is_plain = k + width <= have
        for j in range(width - 1):
            is_plain = is_plain and text[marks[k + j]] == delimiter
        end = np.int64(marks[k + width - 1])
        after = end + 1
        used = width
        if is_plain and text[end] != _LF:
            if text[end] == _CR and end + 1 < stop:
                if text[end + 1] == _LF:
                    after = end + 2
                    used = width + 1
            else:
                is_plain = False
        row = line[count]
        row.position = position + (start - at)
        row.number = number
        row.source = source
        row.text = start
        if is_plain and end - start < MAX_RECORD:
            marks[k - 1] = start - 1
            is_plain = read_line(
                text,
                row,
                start,
                field(marks, k, roles[0], start),
                field(marks, k, roles[1], start),
                field(marks, k, roles[2], start),
                field(marks, k, roles[3], start),
                field(marks, k, roles[4], start),
                field(marks, k, roles[5], start),
                field(marks, k, roles[6], start),
                field(marks, k, roles[7], start),
                field(marks, k, roles[8], start),
                roles[4] >= 0,
                dates,
                memo,
            )
            if is_plain and beyond:
                is_plain = is_utf8(text, start, end)
        else:
            is_plain = False
        if is_plain:
            count += 1
            number += 1
            start = after
            k += used
            continue
        end, after, is_open = odd_end(text, start, stop, delimiter, is_last)
        if after < 0:
            break
        if end > start:
            is_plain = (
                end - start < MAX_RECORD
                and is_open == 0
                and split_quoted(text, start, end, delimiter, width, begins, ends)
                and read_split(text, row, start, begins, ends, roles, dates, memo)
                and is_utf8(text, start, end)
            )
            row.slow = 1
        if end > start and not is_plain:
            odd[odd_count, 0] = count
            odd[odd_count, 1] = start
            odd[odd_count, 2] = end
            odd[odd_count, 3] = is_open
            odd_count += 1
        if end > start:
            count += 1
        number += 1
        for i in range(start, end):
            if text[i] == _LF:
                number += 1
        start = after
        while k < have and marks[k] < start:
            k += 1
        if marked < start:
            marked = start
    return count, odd_count, start, number
