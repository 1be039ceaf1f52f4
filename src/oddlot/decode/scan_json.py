"""The compiled scan of JSON Lines: records that are built like the one it learnt from."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np

from oddlot.decode.scan import (
    MAX_RECORD,
    PADDING,
    SIZE,
    is_as_kept,
    read_split,
    set_field,
)
from oddlot.decode.scan_values import ZEROS, not_digits, points
from oddlot.engine.compiled import (
    address,
    beyond_ascii64,
    compiled,
    differ32,
    inlined,
    load8,
    load32,
    load64,
    mark64,
    outlined,
    store32,
    trailing_zeros,
)
from oddlot.schema import ROLES

_LF, _CR, _QUOTE, _BACKSLASH = np.uint8(10), np.uint8(13), np.uint8(34), np.uint8(92)
_DIGIT, _NINE, _MINUS, _POINT = np.uint8(48), np.uint8(57), np.uint8(45), np.uint8(46)
_N = np.uint8(ord("n"))
_NULL = np.int64(int.from_bytes(b"null", "little"))
_ZERO, _ONE, _FIRST = np.uint64(0), np.uint64(1), np.uint64(0xFF)
MOST_VALUES = 64  # in a record that is scanned
_LONGEST_NUMBER = 18  # digits; json may read a longer one as something else

_NAME = re.compile(rb'[ \t]*([{,])[ \t]*"([^"\\\x00-\x1F\x80-\xFF]*)"[ \t]*:[ \t]*')
_VALUE = re.compile(rb'"[^"\\\x00-\x1F]*"|-?[0-9][0-9.eE+-]*|null')
_END = re.compile(rb"[ \t]*\}[ \t]*")


class Shape(msgspec.Struct, frozen=True):
    """How a record is built: what stands before, between and after its values.

    Attributes:
        literal: shape (bytes,), uint8, the pieces one after the other, padded.
        piece: start and size of each piece in literal, int32 as bytes; one piece more than values.
        role: nine int32 as bytes, which value each of schema.ROLES has, or -1.
    """

    literal: Any
    piece: Any
    role: Any


def learn(record: bytes, columns: dict[str, str]) -> Shape | None:
    """Learn how records are built from one of them; None if it is not a plain one.

    Args:
        record: a JSON object, without its line end.
        columns: role to key.
    """
    pieces: list[bytes] = []
    keys: list[str] = []
    at = 0
    while name := _NAME.match(record, at):
        value = _VALUE.match(record, name.end())
        if value is None or (name[1] == b"{") != (not keys) or len(keys) == MOST_VALUES:
            return None
        keys.append(name[2].decode())
        pieces.append(record[at : name.end()])
        at = value.end()
    if not keys or len(set(keys)) != len(keys) or not _END.fullmatch(record, at):
        return None
    pieces.append(record[at:])
    literal = np.zeros(sum(map(len, pieces)) + PADDING, np.uint8)
    piece = np.zeros((len(pieces), 2), np.int32)
    place = 0
    for row, part in zip(piece, pieces, strict=True):
        literal[place : place + len(part)] = np.frombuffer(part, np.uint8)
        row[:] = place, len(part)
        place += len(part)
    roles = [keys.index(columns[role]) if columns.get(role) in keys else -1 for role in ROLES]
    return Shape(
        literal, piece.reshape(-1).view(np.uint8), np.array(roles, np.int32).view(np.uint8)
    )


NO_SHAPE = Shape(
    np.zeros(PADDING, np.uint8), np.zeros(8, np.uint8), np.full(4 * len(ROLES), 255, np.uint8)
)


@outlined
def long_number_end(text, at):
    """Return where a JSON number without an exponent ends; -1 if there is none or it is long."""
    i = at
    if load8(text, i) == _MINUS:
        i += 1
    first = i
    while _DIGIT <= load8(text, i) <= _NINE:
        i += 1
    if i == first or (load8(text, first) == _DIGIT and i - first > 1):
        return np.int64(-1)
    if load8(text, i) == _POINT:
        i += 1
        point = i
        while _DIGIT <= load8(text, i) <= _NINE:
            i += 1
        if i == point:
            return np.int64(-1)
    return i if i - at <= _LONGEST_NUMBER else np.int64(-1)


@inlined
def number_end(text, at):
    """Return where a number ends, as long_number_end does; eight bytes are seen at once."""
    i = at + 1 if load8(text, at) == _MINUS else at
    digits = load64(text, i) ^ ZEROS
    point = points(digits)
    end = not_digits(digits) & ~point
    size = np.int64(trailing_zeros(end)) >> 3
    whole = np.int64(trailing_zeros(point)) >> 3
    if size == 8 or whole == 0:
        return long_number_end(text, at)
    if whole < size:
        # After the point there must be digits, and no second point.
        inside = point & (end - _ONE)
        if whole + 1 == size or inside & (inside - _ONE) != _ZERO:
            return np.int64(-1)
    else:
        whole = size
    if whole == 0 or (whole > 1 and digits & _FIRST == _ZERO):
        return np.int64(-1)
    return i + size


@inlined
def has_piece(text, at, literal, start, size):
    """Tell whether text at `at` is the piece literal[start:start + size]."""
    while size > 32:
        if differ32(text, at, literal, start) != _ZERO:
            return False
        at, start, size = at + 32, start + 32, size - 32
    return differ32(text, at, literal, start) << np.uint64(64 - size) == _ZERO


@outlined
def line_end(text, start, stop):
    """Return the place of the first line feed in text[start:stop], or `stop`."""
    end = start
    while end < stop and load8(text, end) != _LF:
        end += 1
    return end


@compiled
def scan_json(
    heap, at, stop, is_last, literal, piece, encoding, role, has_price, dates, position, number,
    source, line, odd, note,
):  # fmt: skip
    """Turn the complete records of heap[at:stop] into lines; see scan_csv for the arguments.

    literal, piece and role are those of a Shape. A record that is not built like it is odd.
    """
    text, roles, notes = address(heap), address(role), address(note)
    literals, pieces = address(literal), address(piece)
    values = np.int64(len(piece) // 8 - 1)
    last_start, last_size = load32(pieces, 8 * values), load32(pieces, 8 * values + 4)
    time_value = load32(roles, 8)
    store32(notes, SIZE, -1)
    start = np.int64(at)
    count, odd_count = np.int64(0), np.int64(0)
    capacity = min(len(line), len(odd))
    while count < capacity and start < stop:
        row = line[count]
        row.position = position + (start - at)
        row.number = number
        row.source = source
        row.text = start
        is_plain = bool(values > 0)
        # False, but no constant: a constant would make another function of read_split.
        is_epoch = bool(values < 0)
        beyond = _ZERO
        p = start
        for i in range(values):
            size = load32(pieces, 8 * i + 4)
            if not has_piece(text, p, literals, load32(pieces, 8 * i), size):
                is_plain = False
                break
            p += size
            c = load8(text, p)
            if c == _QUOTE:
                p += 1
                begin = p
                found = mark64(text, p, _BACKSLASH)
                beyond |= beyond_ascii64(text, p)
                while found == _ZERO:
                    p += 64
                    found = mark64(text, p, _BACKSLASH)
                    beyond |= beyond_ascii64(text, p)
                p += np.int64(trailing_zeros(found))
                set_field(notes, i, begin, p)
                if load8(text, p) != _QUOTE:
                    is_plain = False
                    break
                p += 1
            elif c == _N:
                if load32(text, p) != _NULL:
                    is_plain = False
                    break
                set_field(notes, i, p, p)
                p += 4
            else:
                end = number_end(text, p)
                if end < 0:
                    is_plain = False
                    break
                set_field(notes, i, p, end)
                p = end
                is_epoch = is_epoch or i == time_value
        if is_plain and has_piece(text, p, literals, last_start, last_size):
            p += last_size
            after = p + 1
            if load8(text, p) == _CR and p + 1 < stop:
                after = p + 2
            if (
                load8(text, after - 1) == _LF
                and p - start < MAX_RECORD
                and read_split(text, row, start, roles, has_price, is_epoch, dates, notes)
                and (beyond == _ZERO or is_as_kept(text, start, p, encoding))
            ):
                count += 1
                number += 1
                start = after
                continue
        end = line_end(text, start, stop)
        if end == stop and not is_last:
            break
        after = min(end + 1, stop)
        if end > start and end < stop and load8(text, end - 1) == _CR:
            end -= 1
        if end > start:
            odd[odd_count, 0] = count
            odd[odd_count, 1] = start
            odd[odd_count, 2] = end
            odd_count += 1
            count += 1
        number += 1
        start = after
    return count, odd_count, start, number
