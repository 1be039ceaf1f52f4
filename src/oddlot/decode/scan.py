"""What the compiled scans of CSV and JSON Lines share: hashes, UTF-8, one line's fields."""

from __future__ import annotations

import numpy as np

from oddlot.decode.scan_values import NOT_PLAIN, read_epoch, read_price, read_quantity, read_time
from oddlot.engine.compiled import (
    inlined,
    load8,
    load32,
    load64,
    outlined,
    store32,
    store64,
    trailing_zeros,
)

MAX_RECORD = 65_536  # bytes; a longer record is a reject
PADDING = 64  # bytes past the end of a heap that a kernel may read

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_HIGHS = np.uint64(0x8080808080808080)
_EIGHT, _ONE, _ZERO = np.uint64(8), np.uint64(1), np.uint64(0)
_HASH_A = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, as in Fibonacci hashing
_HASH_B = np.uint64(0xC2B2AE3D27D4EB4F)  # an odd constant of xxHash64
_SHIFT_A, _SHIFT_B = np.uint64(29), np.uint64(32)


@inlined
def mask_bytes(word, size):
    """Keep the first `size` (0 to 8) bytes of a word."""
    if size <= 0:
        return np.uint64(0)
    if size >= 8:
        return word
    return word & (_ALL >> (np.uint64(8 - size) * _EIGHT))


@inlined
def mix(left, right):
    """Mix two words into one; both halves depend on every bit."""
    h = (left ^ (left >> _SHIFT_B)) * _HASH_A
    h = (h ^ right ^ (h >> _SHIFT_A)) * _HASH_B
    h = (h ^ (h >> _SHIFT_B)) * _HASH_A
    return h ^ (h >> _SHIFT_A)


@outlined
def hash_bytes(text, at, size):
    """Hash `size` bytes of a heap, which must be padded past its end; see hash_text."""
    h = np.uint64(size)
    i = 0
    while i < size:
        h = mix(h ^ mask_bytes(load64(text, at + i), size - i), np.uint64(i))
        i += 8
    return h


def hash_text(data: bytes) -> int:
    """Hash bytes as hash_bytes does, for the few that no kernel has read."""
    full = (1 << 64) - 1
    h = len(data)
    for i in range(0, len(data), 8):
        h ^= int.from_bytes(data[i : i + 8], "little")
        h = ((h ^ (h >> 32)) * int(_HASH_A)) & full
        h = ((h ^ i ^ (h >> 29)) * int(_HASH_B)) & full
        h = ((h ^ (h >> 32)) * int(_HASH_A)) & full
        h ^= h >> 29
    return h


@outlined
def is_utf8(text, at, stop):
    """Tell whether text[at:stop] is valid UTF-8.

    Source:
        The Unicode Standard 16.0, table 3-7, well-formed UTF-8 byte sequences.
    """
    i = at
    while i < stop:
        high = load64(text, i) & _HIGHS
        if high == _ZERO:
            i += 8
            continue
        i += np.int64(trailing_zeros(high)) >> 3
        if i >= stop:
            return True
        c = np.int64(load8(text, i))
        if c < 0xC2 or c > 0xF4:
            return False
        more = 1 if c < 0xE0 else (2 if c < 0xF0 else 3)
        if i + more >= stop:
            return False
        low, high_most = 0x80, 0xBF
        if c == 0xE0:
            low = 0xA0
        elif c == 0xED:
            high_most = 0x9F
        elif c == 0xF0:
            low = 0x90
        elif c == 0xF4:
            high_most = 0x8F
        for j in range(1, more + 1):
            d = np.int64(load8(text, i + j))
            if d < low or d > high_most:
                return False
            low, high_most = 0x80, 0xBF
        i += more + 1
    return True


@outlined
def is_ascii(text, at, stop):
    """Tell whether text[at:stop] is ASCII."""
    i = at
    while i < stop:
        if mask_bytes(load64(text, i), stop - i) & _HIGHS != _ZERO:
            return False
        i += 8
    return True


@inlined
def is_as_kept(text, at, stop, encoding):
    """Tell whether text[at:stop], in the source's encoding, is as the heap keeps it: UTF-8.

    encoding: 0 auto, 1 utf-8, 2 iso-8859-1.
    """
    if encoding == 2:
        return is_ascii(text, at, stop)
    return is_utf8(text, at, stop)


# What the scans pass from one line to the next, and to functions that are compiled once: bytes
# that hold the last time's three words, its value and its size; and from FIELDS on where each
# field begins and ends, as int32.
VALUE, SIZE, FIELDS = 24, 32, 40


@inlined
def set_field(notes, index, begin, end):
    """Note where a field begins and ends."""
    store32(notes, FIELDS + 8 * index, begin)
    store32(notes, FIELDS + 8 * index + 4, end)


@inlined
def between(notes, index, start):
    """Return where a field begins and ends; an absent one (-1) is empty, at `start`."""
    if index < 0:
        return start, start
    return load32(notes, FIELDS + 8 * index), load32(notes, FIELDS + 8 * index + 4)


@outlined
def remember(notes, text, at, stop, is_epoch, dates):
    """Read a time and note it; one that cannot be compared by its words is read again."""
    time_us = read_epoch(text, at, stop) if is_epoch else read_time(text, at, stop, dates)
    store64(notes, VALUE, np.uint64(time_us))
    # A number and a text may have the same bytes and be two things.
    store32(notes, SIZE, stop - at if 8 <= stop - at <= 24 and not is_epoch else -1)
    return time_us


@inlined
def read_line(
    text, row, start, sku, quantity, time, invoice, price, customer, description, country, event,
    has_price, is_epoch, dates, notes,
):  # fmt: skip
    """Read the fields of one plain record into a row of LINE.

    Args:
        text: the heap.
        row: a record of dtype LINE, updated in place (not: position, number, source, text).
        start: where the record begins.
        sku, quantity, time, ... event: where each role's field begins and ends; an absent one
            begins and ends at `start`.
        has_price: whether the source has prices.
        is_epoch: whether the time is a number of JSON.
        dates: 0 iso, 1 month-first, 2 day-first.
        notes: see VALUE; updated in place.

    Returns:
        Whether every field was plain; if not, the slow path must judge the record.
    """
    a, b = time
    # Many lines share a minute: the last answer is often the next one.
    wa, wb, wc = load64(text, a), load64(text, a + 8), _ZERO
    if b - a > 16:
        wc = load64(text, b - 8)
    elif b - a < 16:
        wb = mask_bytes(wb, b - a - 8)
    if (
        b - a == load32(notes, SIZE)
        and wa == load64(notes, 0)
        and wb == load64(notes, 8)
        and wc == load64(notes, 16)
    ):
        time_us = np.int64(load64(notes, VALUE))
    else:
        store64(notes, 0, wa)
        store64(notes, 8, wb)
        store64(notes, 16, wc)
        time_us = remember(notes, text, a, b, is_epoch, dates)
    units = read_quantity(text, quantity[0], quantity[1])
    value = read_price(text, price[0], price[1])
    a, b = sku
    row.time_us = time_us
    row.quantity = units
    row.price = value
    row.sku_at, row.sku_size = a - start, b - a
    row.sku = -1
    row.invoice_at, row.invoice_size = invoice[0] - start, invoice[1] - invoice[0]
    row.customer_at, row.customer_size = customer[0] - start, customer[1] - customer[0]
    row.description_at = description[0] - start
    row.description_size = description[1] - description[0]
    row.country_at, row.country_size = country[0] - start, country[1] - country[0]
    row.slow = 0
    row.event = 0
    if event[1] > event[0]:
        row.event = hash_bytes(text, event[0], event[1] - event[0]) | _ONE
    return (
        time_us != NOT_PLAIN and units != NOT_PLAIN and b > a and (not has_price or value == value)
    )


@outlined
def read_split(text, row, start, roles, has_price, is_epoch, dates, notes):
    """Read the fields of a record that are noted; see read_line."""
    return read_line(
        text,
        row,
        start,
        between(notes, load32(roles, 0), start),
        between(notes, load32(roles, 4), start),
        between(notes, load32(roles, 8), start),
        between(notes, load32(roles, 12), start),
        between(notes, load32(roles, 16), start),
        between(notes, load32(roles, 20), start),
        between(notes, load32(roles, 24), start),
        between(notes, load32(roles, 28), start),
        between(notes, load32(roles, 32), start),
        has_price,
        is_epoch,
        dates,
        notes,
    )
