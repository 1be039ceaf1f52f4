"""The compiled scan of plain JSON Lines: records that are built like the one it learnt from."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np

from oddlot.decode.scan import (
    MAX_RECORD,
    PADDING,
    is_utf8,
    mark,
    mask_bytes,
    new_memo,
    read_split,
)
from oddlot.engine.compiled import compiled, inlined, load64
from oddlot.schema import ROLES

_LF, _CR, _BACKSLASH = np.uint8(10), np.uint8(13), np.uint8(92)
_ZERO, _NINE, _MINUS, _POINT = np.uint8(48), np.uint8(57), np.uint8(45), np.uint8(46)
_BLOCK = 16_384
_TEXT_ROLES = ("sku", "invoice", "customer", "description", "country", "event")


class Shape(msgspec.Struct, frozen=True):
    """How a record is built: what stands before, between and after its values.

    Attributes:
        literal: shape (bytes,), the pieces one after the other, padded.
        piece: shape (values + 1, 4), int64: start and size of each piece in literal, how many
            quotes are in it, and where its first quote stands (its size where there is none).
        is_text: shape (values,), bool, whether the value is a string.
        must_be_whole: shape (values,), bool, whether a number there stands for a text.
        roles: shape (9,), int64, which value each of schema.ROLES has, or -1.
    """

    literal: Any
    piece: Any
    is_text: Any
    must_be_whole: Any
    roles: Any


def learn(record: bytes, columns: dict[str, str]) -> Shape | None:
    """Learn how records are built from one of them; None if it is not a plain one.

    Args:
        record: a JSON object, without its line end.
        columns: role to key.
    """
    try:
        pairs: list[tuple[str, Any]] = json.loads(record, object_pairs_hook=list)
        record.decode("ascii")
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, list) or not pairs or not all(isinstance(p, tuple) for p in pairs):
        return None
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys) or b"\\" in record or len(keys) > 64:
        return None
    pieces, is_text, at = [], [], 0
    for key, value in pairs:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            return None
        text = isinstance(value, str)
        name = record.find(b'"' + key.encode() + b'"', at)
        start = record.find(b":", name + len(key) + 2) + 1
        while record[start : start + 1] == b" ":
            start += 1
        if text:
            start += 1
            end = record.find(b'"', start)
        else:
            end = start
            while end < len(record) and record[end : end + 1] not in b",} ":
                end += 1
        pieces.append(record[at:start])
        is_text.append(text)
        at = end
    pieces.append(record[at:])
    literal = np.zeros(sum(map(len, pieces)) + PADDING, np.uint8)
    piece = np.zeros((len(pieces), 4), np.int64)
    place = 0
    for row, part in zip(piece, pieces, strict=True):
        literal[place : place + len(part)] = np.frombuffer(part, np.uint8)
        row[:] = place, len(part), part.count(b'"'), part.find(b'"') % (len(part) + 1)
        place += len(part)
    roles = [keys.index(columns[role]) if columns.get(role) in keys else -1 for role in ROLES]
    whole = np.zeros(len(keys), np.bool_)
    for role in _TEXT_ROLES:
        if roles[ROLES.index(role)] >= 0:
            whole[roles[ROLES.index(role)]] = True
    return Shape(literal, piece, np.array(is_text), whole, np.array(roles, np.int64))


@inlined
def _is_number(text, at, stop, must_be_whole):
    """Tell whether text[at:stop] is a JSON number without an exponent."""
    i = at
    if i < stop and text[i] == _MINUS:
        i += 1
    first = i
    while i < stop and _ZERO <= text[i] <= _NINE:
        i += 1
    if i == first or (text[first] == _ZERO and i - first > 1):
        return False
    if i < stop and text[i] == _POINT and not must_be_whole:
        i += 1
        first = i
        while i < stop and _ZERO <= text[i] <= _NINE:
            i += 1
        return i == stop and i > first
    return i == stop


@inlined
def _has_piece(text, at, literal, start, size):
    """Tell whether text at `at` is the piece literal[start:start + size]."""
    i = 0
    while i < size:
        difference = load64(text, at + i) ^ load64(literal, start + i)
        if mask_bytes(difference, size - i) != np.uint64(0):
            return False
        i += 8
    return True


@compiled
def scan_json(
    text, at, stop, is_last, literal, piece, is_text, must_be_whole, roles, dates, position,
    number, source, line, odd,
):  # fmt: skip
    """Turn the complete records of text[at:stop] into lines; see scan_csv for the arguments.

    literal, piece, is_text, must_be_whole and roles are those of a Shape. A record that is not
    built like it is odd.
    """
    values = len(is_text)
    quotes = np.int64(0)
    for i in range(values + 1):
        quotes += piece[i, 2]
    marks = np.empty(_BLOCK + 2 * quotes + 64, np.int32)
    begins = np.empty(values, np.int64)
    ends = np.empty(values, np.int64)
    memo = new_memo()
    have, k, marked, start = np.int64(0), np.int64(0), np.int64(at), np.int64(at)
    count, odd_count = np.int64(0), np.int64(0)
    beyond = False
    capacity = min(len(line), len(odd))
    while count < capacity and start < stop:
        if k + quotes + 2 > have and marked < stop:
            keep = have - k
            for j in range(keep):
                marks[j] = marks[k + j]
            k = np.int64(0)
            ahead = min(stop, marked + _BLOCK)
            have, block_beyond = mark(text, marked, ahead, _BACKSLASH, marks, keep)
            beyond = block_beyond or (beyond and start < marked)
            marked = ahead
            continue
        row = line[count]
        row.position = position + (start - at)
        row.number = number
        row.source = source
        row.text = start
        is_plain = values > 0 and k + quotes < have
        q = k
        p = start
        if is_plain:
            for i in range(values):
                is_plain = is_plain and _has_piece(text, p, literal, piece[i, 0], piece[i, 1])
                p += piece[i, 1]
                q += piece[i, 2]
                begins[i] = p
                p = np.int64(marks[q]) - piece[i + 1, 3]
                ends[i] = p
                if not is_text[i]:
                    is_plain = is_plain and _is_number(text, begins[i], p, must_be_whole[i])
                if p < begins[i] or not is_plain:
                    is_plain = False
                    break
        if is_plain:
            is_plain = _has_piece(text, p, literal, piece[values, 0], piece[values, 1])
            p += piece[values, 1]
            q += piece[values, 2]
        after = p + 1
        if is_plain and text[p] != _LF:
            if text[p] == _CR and p + 1 < stop and text[p + 1] == _LF:
                after = p + 2
                q += 1
            else:
                is_plain = False
        if is_plain and (p >= stop or p - start >= MAX_RECORD):
            is_plain = False
        if is_plain:
            is_plain = read_split(text, row, start, begins, ends, roles, dates, memo)
            if is_plain and beyond:
                is_plain = is_utf8(text, start, p)
        if is_plain:
            k = q + 1
            count += 1
            number += 1
            start = after
            continue
        end = start
        while end < stop and text[end] != _LF:
            end += 1
        if end == stop and not is_last:
            break
        after = min(end + 1, stop)
        while end > start and text[end - 1] == _CR:
            end -= 1
        if end > start:
            odd[odd_count, 0] = count
            odd[odd_count, 1] = start
            odd[odd_count, 2] = end
            odd[odd_count, 3] = 0
            odd_count += 1
            count += 1
        number += 1
        start = after
        while k < have and marks[k] < start:
            k += 1
        if marked < start:
            marked = start
    return count, odd_count, start, number
