"""What the compiled scans of CSV and JSON Lines share: numbers, times, hashes."""

from __future__ import annotations

import numpy as np

from oddlot.engine.compiled import (
    beyond_ascii64,
    count_bits,
    inlined,
    load64,
    mark64,
    outlined,
    trailing_zeros,
)

# How a date in the source is read; indices into Reading.dates' words.
DATES = ("iso", "month-first", "day-first")
ISO, MONTH_FIRST, DAY_FIRST = range(3)

NOT_PLAIN = np.int64(-(2**63))  # a number or time that the slow path must judge
MAX_RECORD = 65_536  # bytes; a longer record is a reject
PADDING = 64  # bytes past the end of a heap that a kernel may read

# Where each of schema.ROLES stands in the arrays of the scans.
SKU, QUANTITY, TIME, INVOICE, PRICE, CUSTOMER, DESCRIPTION, COUNTRY, EVENT = range(9)

_POINT, _MINUS, _PLUS, _SLASH, _COLON, _SPACE, _T = (np.uint8(ord(c)) for c in ".-+/: T")
_DAY_US = np.int64(86_400_000_000)
_MINUTE_US = np.int64(60_000_000)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_EIGHT, _ONE, _ZERO = np.uint64(8), np.uint64(1), np.uint64(0)
_HASH_A = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, as in Fibonacci hashing
_HASH_B = np.uint64(0xC2B2AE3D27D4EB4F)  # an odd constant of xxHash64
_SHIFT_A, _SHIFT_B = np.uint64(29), np.uint64(32)
_POWERS = 10.0 ** np.arange(23)  # exact in float64 up to 10^22


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


@inlined
def hash_bytes(text, at, size):
    """Hash `size` bytes of a heap, which must be padded past its end."""
    h = np.uint64(size)
    i = 0
    while i < size:
        h = mix(h ^ mask_bytes(load64(text, at + i), size - i), np.uint64(i))
        i += 8
    return h


@inlined
def read_quantity(text, at, stop):
    """Read a plain whole number of up to nine digits; NOT_PLAIN for anything else."""
    i = at
    is_negative = False
    if i < stop and (text[i] == _MINUS or text[i] == _PLUS):
        is_negative = text[i] == _MINUS
        i += 1
    if i >= stop or stop - i > 9:
        return NOT_PLAIN
    value = np.int64(0)
    while i < stop:
        digit = np.int64(text[i]) - 48
        if digit < 0 or digit > 9:
            return NOT_PLAIN
        value = value * 10 + digit
        i += 1
    return -value if is_negative else value


@inlined
def read_price(text, at, stop):
    """Read a plain decimal of up to 15 digits, correctly rounded; NaN for anything else.

    Source:
        Clinger (1990), How to read floating point numbers accurately: digits below 2^53
        divided by an exact power of ten are rounded once, as Python's float() does.
    """
    i = at
    is_negative = False
    if i < stop and text[i] == _MINUS:
        is_negative = True
        i += 1
    if i >= stop or stop - i > 16:
        return np.nan
    value = np.int64(0)
    digits = 0
    decimals = -1
    while i < stop:
        c = text[i]
        if c == _POINT:
            if decimals >= 0:
                return np.nan
            decimals = 0
        else:
            digit = np.int64(c) - 48
            if digit < 0 or digit > 9:
                return np.nan
            value = value * 10 + digit
            digits += 1
            if decimals >= 0:
                decimals += 1
        i += 1
    if digits == 0 or digits > 15:
        return np.nan
    price = np.float64(value)
    if decimals > 0:
        price /= _POWERS[decimals]
    return -price if is_negative else price


@inlined
def days_from_civil(year, month, day):
    """Count the days since 1970-01-01 in the Gregorian calendar.

    Source:
        Hinnant (2013), chrono-compatible low-level date algorithms, days_from_civil.
    """
    y = year - 1 if month <= 2 else year
    era = y // 400
    year_of_era = y - era * 400
    shifted = month - 3 if month > 2 else month + 9
    day_of_year = (153 * shifted + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468


@inlined
def days_in_month(year, month):
    """Count the days of a month, 28 to 31."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    if month == 4 or month == 6 or month == 9 or month == 11:
        return 30
    return 31


@inlined
def time_from_parts(year, month, day, hour, minute, second):
    """Turn calendar parts into microseconds; NOT_PLAIN where one is out of range."""
    if year < 1900 or year > 2200 or month < 1 or month > 12 or day < 1:
        return NOT_PLAIN
    if hour > 23 or minute > 59 or second > 59 or day > days_in_month(year, month):
        return NOT_PLAIN
    days = days_from_civil(year, month, day)
    return days * _DAY_US + (hour * 60 + minute) * _MINUTE_US + second * 1_000_000


@inlined
def _two_digits(text, i):
    high = np.int64(text[i]) - 48
    low = np.int64(text[i + 1]) - 48
    if high < 0 or high > 9 or low < 0 or low > 9:
        return np.int64(-1)
    return high * 10 + low


@inlined
def read_iso(text, at, stop):
    """Read `YYYY-MM-DD HH:MM[:SS]`; NOT_PLAIN for anything else."""
    size = stop - at
    if size != 19 and size != 16:
        return NOT_PLAIN
    if text[at + 4] != _MINUS or text[at + 7] != _MINUS or text[at + 13] != _COLON:
        return NOT_PLAIN
    if text[at + 10] != _SPACE and text[at + 10] != _T:
        return NOT_PLAIN
    century = _two_digits(text, at)
    year = _two_digits(text, at + 2)
    month = _two_digits(text, at + 5)
    day = _two_digits(text, at + 8)
    hour = _two_digits(text, at + 11)
    minute = _two_digits(text, at + 14)
    second = np.int64(0)
    if size == 19:
        if text[at + 16] != _COLON:
            return NOT_PLAIN
        second = _two_digits(text, at + 17)
    if (century | year | month | day | hour | minute | second) < 0:
        return NOT_PLAIN
    return time_from_parts(century * 100 + year, month, day, hour, minute, second)


@inlined
def _one_or_two_digits(text, i):
    """Read one or two digits; return their value (-1 for none) and where they end."""
    value = np.int64(text[i]) - 48
    if value < 0 or value > 9:
        return np.int64(-1), i
    second = np.int64(text[i + 1]) - 48
    if second < 0 or second > 9:
        return value, i + 1
    return value * 10 + second, i + 2


@inlined
def read_slashed(text, at, stop, is_month_first):
    """Read `M/D/YYYY H:MM[:SS]` or `D/M/YYYY H:MM[:SS]`; NOT_PLAIN for anything else."""
    if stop - at < 13 or stop - at > 19:
        return NOT_PLAIN
    first, i = _one_or_two_digits(text, at)
    other, j = _one_or_two_digits(text, i + 1)
    century = _two_digits(text, j + 1)
    year = _two_digits(text, j + 3)
    hour, k = _one_or_two_digits(text, j + 6)
    minute = _two_digits(text, k + 1)
    if (first | other | century | year | hour | minute) < 0:
        return NOT_PLAIN
    if text[i] != _SLASH or text[j] != _SLASH or text[j + 5] != _SPACE or text[k] != _COLON:
        return NOT_PLAIN
    second = np.int64(0)
    if k + 3 != stop:
        second = _two_digits(text, k + 4)
        if k + 6 != stop or text[k + 3] != _COLON or second < 0:
            return NOT_PLAIN
    if is_month_first:
        return time_from_parts(century * 100 + year, first, other, hour, minute, second)
    return time_from_parts(century * 100 + year, other, first, hour, minute, second)


@inlined
def read_time(text, at, stop, dates):
    """Read an event time as the source writes it; NOT_PLAIN for anything else."""
    if dates == 0 or (stop - at > 4 and text[at + 4] == _MINUS):
        return read_iso(text, at, stop)
    return read_slashed(text, at, stop, dates == 1)


@inlined
def mark(text, at, stop, delimiter, marks, count):
    """List the places of delimiters, quotes and control bytes in text[at:stop].

    Returns how many marks there are then, and whether there was a byte beyond ASCII.
    """
    i = at
    beyond = _ZERO
    while i < stop:
        special = mark64(text, i, delimiter)
        beyond |= beyond_ascii64(text, i)
        if stop - i < 64:
            special &= (_ONE << np.uint64(stop - i)) - _ONE
        found = count_bits(special)
        # Eight at a time without asking: a branch for each bit would often be guessed wrong.
        for j in range(8):
            marks[count + j] = i + np.int64(trailing_zeros(special))
            special &= special - _ONE
        if found > 8:
            for j in range(8, 16):
                marks[count + j] = i + np.int64(trailing_zeros(special))
                special &= special - _ONE
            for j in range(16, found):
                marks[count + j] = i + np.int64(trailing_zeros(special))
                special &= special - _ONE
        count += found
        i += 64
    return count, beyond != _ZERO


@outlined
def is_utf8(text, at, stop):
    """Tell whether text[at:stop] is valid UTF-8.

    Source:
        The Unicode Standard 16.0, table 3-7, well-formed UTF-8 byte sequences.
    """
    i = at
    while i < stop:
        c = np.int64(text[i])
        if c < 0x80:
            i += 1
            continue
        if c < 0xC2 or c > 0xF4:
            return False
        more = 1 if c < 0xE0 else (2 if c < 0xF0 else 3)
        if i + more >= stop:
            return False
        low, high = 0x80, 0xBF
        if c == 0xE0:
            low = 0xA0
        elif c == 0xED:
            high = 0x9F
        elif c == 0xF0:
            low = 0x90
        elif c == 0xF4:
            high = 0x8F
        for j in range(1, more + 1):
            d = np.int64(text[i + j])
            if d < low or d > high:
                return False
            low, high = 0x80, 0xBF
        i += more + 1
    return True


@inlined
def between(begins, ends, index, start):
    """Return where a field begins and ends; an absent one (-1) is empty, at `start`."""
    if index < 0:
        return start, start
    return begins[index], ends[index]


@inlined
def new_memo():
    """Make what read_line remembers: the last time's size, words and value."""
    memo = np.zeros(5, np.int64)
    memo[0] = -1
    return memo


@inlined
def read_line(
    text, row, start, sku, quantity, time, invoice, price, customer, description, country, event,
    has_price, dates, memo,
):  # fmt: skip
    """Read the fields of one plain record into a row of LINE.

    Args:
        text: the heap.
        row: a record of dtype LINE, updated in place (not: position, number, source, text).
        start: where the record begins.
        sku, quantity, time, ... event: where each role's field begins and ends; an absent one
            begins and ends at `start`.
        has_price: whether the source has prices.
        dates: 0 iso, 1 month-first, 2 day-first.
        memo: from new_memo, updated in place.

    Returns:
        Whether every field was plain; if not, the slow path must judge the record.
    """
    a, b = time
    # Many lines share a minute: the last answer is often the next one.
    wa, wb, wc = np.int64(load64(text, a)), np.int64(load64(text, a + 8)), np.int64(0)
    if b - a > 16:
        wc = np.int64(load64(text, b - 8))
    elif b - a < 16:
        wb = np.int64(mask_bytes(np.uint64(wb), b - a - 8))
    if b - a != memo[0] or wa != memo[1] or wb != memo[2] or wc != memo[3]:
        memo[4] = read_time(text, a, b, dates)
        memo[1], memo[2], memo[3] = wa, wb, wc
        memo[0] = b - a if 8 <= b - a <= 24 else -1
    time_us = memo[4]
    units = read_quantity(text, quantity[0], quantity[1])
    value = read_price(text, price[0], price[1])
    a, b = sku
    row.time_us = time_us
    row.quantity = units
    row.price = value
    row.sku_at, row.sku_size = a - start, b - a
    row.sku = np.int32(hash_bytes(text, a, b - a) & np.uint64(0x7FFFFFFF))
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
        time_us != NOT_PLAIN
        and units != NOT_PLAIN
        and b > a
        and (not has_price or value == value)
    )


@outlined
def read_split(text, row, start, begins, ends, roles, dates, memo):
    """Read the fields of a record whose fields begin and end as given; see read_line."""
    return read_line(
        text,
        row,
        start,
        between(begins, ends, roles[0], start),
        between(begins, ends, roles[1], start),
        between(begins, ends, roles[2], start),
        between(begins, ends, roles[3], start),
        between(begins, ends, roles[4], start),
        between(begins, ends, roles[5], start),
        between(begins, ends, roles[6], start),
        between(begins, ends, roles[7], start),
        between(begins, ends, roles[8], start),
        roles[4] >= 0,
        dates,
        memo,
    )
