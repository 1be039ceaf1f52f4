"""The compiled reading of plain numbers and times."""

from __future__ import annotations

import numpy as np

from oddlot.engine.compiled import inlined, load8, load64, outlined, trailing_zeros

NOT_PLAIN = np.int64(-(2**63))  # a number or time that the slow path must judge

_POINT, _MINUS, _PLUS, _SLASH, _COLON, _SPACE, _T = (np.uint8(ord(c)) for c in ".-+/: T")
_DAY_US = np.int64(86_400_000_000)
_MINUTE_US = np.int64(60_000_000)
_EIGHT, _ONE, _ZERO = np.uint64(8), np.uint64(1), np.uint64(0)
_POWERS = 10.0 ** np.arange(23)  # exact in float64 up to 10^22

# Eight bytes at once: zeros of ASCII, what lifts 10 to 128, the high bits, a point less its zero.
ZEROS, _LIFT = np.uint64(0x3030303030303030), np.uint64(0x7676767676767676)
_HIGHS, _LOWS = np.uint64(0x8080808080808080), np.uint64(0x7F7F7F7F7F7F7F7F)
_POINTS = np.uint64(0x1E1E1E1E1E1E1E1E)
_QUADS = np.uint64(0x000000FF000000FF)
_HUNDRED_MILLION = np.uint64(100 + (1_000_000 << 32))
_ONE_MYRIAD = np.uint64(1 + (10_000 << 32))
_TEN, _SIXTEEN, _HALF, _LOW_HALF = (np.uint64(x) for x in (10, 16, 32, 0xFFFFFFFF))
_LATEST_US = np.int64(7_289_654_400_000_000)  # the year 2201 begins


@inlined
def eight_digits(word):
    """Turn eight bytes of 0 to 9, the first the highest digit, into their number.

    Source:
        Lemire (2021), Number parsing at a gigabyte per second, section 6.
    """
    word = word * _TEN + (word >> _EIGHT)
    high = (word & _QUADS) * _HUNDRED_MILLION
    low = ((word >> _SIXTEEN) & _QUADS) * _ONE_MYRIAD
    return np.int64(((high + low) >> _HALF) & _LOW_HALF)


@inlined
def not_digits(word):
    """Mark, by their high bits, the bytes of a word less ZEROS that are no digits.

    Bytes after one above 0x7F may be marked wrongly.
    """
    return ((word + _LIFT) | word) & _HIGHS


@inlined
def points(word):
    """Mark, by their high bits, the bytes of a word less ZEROS that are points."""
    other = word ^ _POINTS
    return ~(((other & _LOWS) + _LOWS) | other) & _HIGHS


@inlined
def read_quantity(text, at, stop):
    """Read a plain whole number of up to eight digits; NOT_PLAIN for anything else."""
    first = load8(text, at)
    is_signed = first == _MINUS or first == _PLUS
    if is_signed:
        at += 1
    size = stop - at
    if size < 1 or size > 8:
        return NOT_PLAIN
    digits = (load64(text, at) ^ ZEROS) << np.uint64(64 - 8 * size)
    if not_digits(digits) != _ZERO:
        return NOT_PLAIN
    value = eight_digits(digits)
    return -value if is_signed and first == _MINUS else value


@inlined
def read_price(text, at, stop):
    """Read a plain decimal of up to 15 digits, correctly rounded; NaN for anything else.

    Source:
        Clinger (1990), How to read floating point numbers accurately: digits below 2^53
        divided by an exact power of ten are rounded once, as Python's float() does.
    """
    is_negative = load8(text, at) == _MINUS
    if is_negative:
        at += 1
    size = stop - at
    if size < 1 or size > 8:
        price = _long_price(text, at, stop)
        return -price if is_negative else price
    digits = (load64(text, at) ^ ZEROS) << np.uint64(64 - 8 * size)
    point = points(digits)
    decimals = np.int64(0)
    if point != _ZERO:
        place = trailing_zeros(point) >> np.uint64(3)
        decimals = 7 - np.int64(place)
        before = digits & ((_ONE << (place * _EIGHT)) - _ONE)
        digits = ((digits >> (place * _EIGHT)) >> _EIGHT << _EIGHT << (place * _EIGHT)) | (
            before << _EIGHT
        )
        if size == 1:
            return np.nan
    if not_digits(digits) != _ZERO:
        return np.nan
    price = np.float64(eight_digits(digits)) / _POWERS[decimals]
    return -price if is_negative else price


@outlined
def _long_price(text, at, stop):
    """Read a decimal without a sign of up to 15 digits; NaN for anything else."""
    if stop <= at or stop - at > 16:
        return np.nan
    value = np.int64(0)
    digits = 0
    decimals = -1
    for i in range(at, stop):
        c = load8(text, i)
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
    if digits == 0 or digits > 15:
        return np.nan
    return np.float64(value) / _POWERS[max(decimals, 0)]


@outlined
def read_epoch(text, at, stop):
    """Read seconds, or from 10^11 on milliseconds, since 1970; NOT_PLAIN for anything else."""
    value = np.int64(0)
    if stop <= at or stop - at > 15:
        return NOT_PLAIN
    for i in range(at, stop):
        digit = np.int64(load8(text, i)) - 48
        if digit < 0 or digit > 9:
            return NOT_PLAIN
        value = value * 10 + digit
    time_us = value * 1_000 if value >= 100_000_000_000 else value * 1_000_000
    return time_us if time_us < _LATEST_US else NOT_PLAIN


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
    high = np.int64(load8(text, i)) - 48
    low = np.int64(load8(text, i + 1)) - 48
    if high < 0 or high > 9 or low < 0 or low > 9:
        return np.int64(-1)
    return high * 10 + low


@inlined
def read_iso(text, at, stop):
    """Read `YYYY-MM-DD HH:MM[:SS]`; NOT_PLAIN for anything else."""
    size = stop - at
    if size != 19 and size != 16:
        return NOT_PLAIN
    if (
        load8(text, at + 4) != _MINUS
        or load8(text, at + 7) != _MINUS
        or load8(text, at + 13) != _COLON
    ):
        return NOT_PLAIN
    if load8(text, at + 10) != _SPACE and load8(text, at + 10) != _T:
        return NOT_PLAIN
    century = _two_digits(text, at)
    year = _two_digits(text, at + 2)
    month = _two_digits(text, at + 5)
    day = _two_digits(text, at + 8)
    hour = _two_digits(text, at + 11)
    minute = _two_digits(text, at + 14)
    second = np.int64(0)
    if size == 19:
        if load8(text, at + 16) != _COLON:
            return NOT_PLAIN
        second = _two_digits(text, at + 17)
    if (century | year | month | day | hour | minute | second) < 0:
        return NOT_PLAIN
    return time_from_parts(century * 100 + year, month, day, hour, minute, second)


@inlined
def _one_or_two_digits(text, i):
    """Read one or two digits; return their value (-1 for none) and where they end."""
    value = np.int64(load8(text, i)) - 48
    if value < 0 or value > 9:
        return np.int64(-1), i
    second = np.int64(load8(text, i + 1)) - 48
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
    if (
        load8(text, i) != _SLASH
        or load8(text, j) != _SLASH
        or load8(text, j + 5) != _SPACE
        or load8(text, k) != _COLON
    ):
        return NOT_PLAIN
    second = np.int64(0)
    if k + 3 != stop:
        second = _two_digits(text, k + 4)
        if k + 6 != stop or load8(text, k + 3) != _COLON or second < 0:
            return NOT_PLAIN
    if is_month_first:
        return time_from_parts(century * 100 + year, first, other, hour, minute, second)
    return time_from_parts(century * 100 + year, other, first, hour, minute, second)


@inlined
def read_time(text, at, stop, dates):
    """Read an event time as the source writes it; NOT_PLAIN for anything else."""
    if dates == 0 or (stop - at > 4 and load8(text, at + 4) == _MINUS):
        return read_iso(text, at, stop)
    return read_slashed(text, at, stop, dates == 1)
