"""One record to the fields of an order line, slowly and obviously: the judge of odd records."""

from __future__ import annotations

import csv
import math
import re
from datetime import date
from functools import lru_cache
from typing import Any

import msgspec

from oddlot.decode.reading import Reading
from oddlot.errors import DataError
from oddlot.schema import TEXTS

# Bytes, as given and as UTF-8. No field can be as long, so that its size fits in 16 bits.
LONGEST_RECORD = 65_536
LARGEST_QUANTITY = 2_147_483_647
YEARS = (1900, 2200)

_BLANKS = " \t"
_QUANTITY = re.compile(r"([+-]?)([0-9]+)(?:\.0+)?")
_PRICE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_CLOCK = r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6})0*)?)?"
_ISO = re.compile(
    rf"([0-9]{{4}})([-/.])([0-9]{{2}})\2([0-9]{{2}})"
    rf"(?:[ T]{_CLOCK}(?:Z|([+-])([0-9]{{2}}):([0-9]{{2}}))?)?"
)
_LOCAL = re.compile(
    r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})"
    r"(?:[ T]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?"
)
_EXAMPLES = {
    "iso": "a date and time such as 2010-12-31 08:26",
    "month-first": "a date and time such as 12/31/2010 8:26",
    "day-first": "a date and time such as 31/12/2010 8:26",
}
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_US = 86_400_000_000
_EARLIEST_US = (date(YEARS[0], 1, 1).toordinal() - _EPOCH) * _DAY_US
_LATEST_US = (date(YEARS[1] + 1, 1, 1).toordinal() - _EPOCH) * _DAY_US
_MILLISECONDS_FROM = 10**11  # as seconds this would be the year 5138

_TEXTS = (*TEXTS, "event")

_decode_object = msgspec.json.Decoder(dict[str, object]).decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Fields(msgspec.Struct):
    """The fields of one order line.

    Attributes:
        invoice, sku, description, customer, country: as in the source; "" where absent.
        quantity: units, negative when they come back.
        time_us: event time, microseconds UTC.
        price: of one unit; NaN where the source has no price.
        event: the event's id; "" where absent.
        kind: index into KINDS.
    """

    invoice: str
    sku: str
    description: str
    customer: str
    country: str
    quantity: int
    time_us: int
    price: float
    event: str
    kind: int


def read_record(data: bytes, reading: Reading) -> Fields:
    """Read one record, by the rules of Python's csv or of JSON.

    Args:
        data: the record without its line end.
        reading: how its source is read.

    Raises:
        DataError: the record cannot become a line; its text is the reason. Set it aside, go on.
    """
    if len(data) > LONGEST_RECORD:
        raise DataError(f"record must have at most {LONGEST_RECORD} bytes; got {len(data)}")
    if b"\0" in data:
        raise DataError("record must be text; got a NUL byte")
    text = _decode(data, reading.encoding)
    values = (
        _json_values(text, reading) if reading.format == "jsonl" else _csv_values(text, reading)
    )
    get = values.get
    invoice, sku, customer = get("invoice", ""), get("sku", ""), get("customer", "")
    if not sku:
        raise DataError("sku must not be empty")
    quantity = _quantity(get("quantity"))
    time_us = _time(get("time"), reading.dates)
    price = _price(get("price")) if "price" in reading.columns else math.nan
    return Fields(
        invoice=invoice,
        sku=sku,
        description=get("description", ""),
        customer=customer,
        country=get("country", ""),
        quantity=quantity,
        time_us=time_us,
        price=price,
        event=get("event", ""),
        kind=reading.kinds.kind(invoice, sku, quantity, price, customer),
    )


def parse_quantity(text: str) -> int:
    """Read a whole number such as `6`, `-12` or `6.0`; outer blanks are ignored.

    Raises:
        DataError: it is not one, or is beyond 2,147,483,647.
    """
    match = _QUANTITY.fullmatch(text.strip(_BLANKS))
    if match is None:
        raise DataError(f"quantity must be a whole number; got {_quote(text)}")
    digits = match[2].lstrip("0") or "0"
    # int() refuses thousands of digits, so the length is looked at first.
    if len(digits) > 10 or int(digits) > LARGEST_QUANTITY:
        raise DataError(_too_large(_quote(text)))
    return -int(digits) if match[1] == "-" else int(digits)


def parse_price(text: str) -> float:
    """Read a decimal number such as `2.55`; outer blanks are ignored.

    Raises:
        DataError: it is not one.
    """
    stripped = text.strip(_BLANKS)
    if _PRICE.fullmatch(stripped) is None:
        raise DataError(f"price must be a decimal number; got {_quote(text)}")
    price = float(stripped)
    if not math.isfinite(price):
        raise DataError(f"price must be a decimal number; got {_quote(text)}")
    return price


@lru_cache(maxsize=4096)  # neighbours in a stream share their minute
def parse_time(text: str, dates: str) -> int:
    """Read a date and time to microseconds UTC; outer blanks are ignored.

    Times without an offset are taken as UTC. A year in front is read as such whatever `dates` is.

    Args:
        text: such as `2010-12-01T08:26:00Z` or `12/1/2010 8:26`.
        dates: "iso", "month-first" or "day-first".

    Raises:
        DataError: it is not one, or not in the years 1900 to 2200.
    """
    stripped = text.strip(_BLANKS)
    seconds_east, fraction = 0, ""
    if match := _ISO.fullmatch(stripped):
        year, _, month, day, hour, minute, second, fraction, sign, *offset = match.groups()
        if sign:
            seconds_east = int(offset[0]) * 3600 + int(offset[1]) * 60
            if int(offset[0]) > 23 or int(offset[1]) > 59:
                raise DataError(_no_time(text, dates))
            seconds_east = -seconds_east if sign == "-" else seconds_east
    elif dates != "iso" and (match := _LOCAL.fullmatch(stripped)):
        first, _, other, year, hour, minute, second = match.groups()
        month, day = (first, other) if dates == "month-first" else (other, first)
    else:
        raise DataError(_no_time(text, dates))
    if not YEARS[0] <= int(year) <= YEARS[1]:
        raise DataError(f"time must be in the years {YEARS[0]} to {YEARS[1]}; got {_quote(text)}")
    hours, minutes, seconds = int(hour or 0), int(minute or 0), int(second or 0)
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        raise DataError(_no_time(text, dates)) from None
    if hours > 23 or minutes > 59 or seconds > 59:
        raise DataError(_no_time(text, dates))
    whole = days * 86_400 + hours * 3600 + minutes * 60 + seconds - seconds_east
    return whole * 1_000_000 + int((fraction or "").ljust(6, "0"))


def _decode(data: bytes, encoding: str) -> str:
    if encoding != "iso-8859-1":
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            if encoding == "utf-8":
                byte = data[error.start]
                raise DataError(f"record must be UTF-8; got the byte 0x{byte:02X}") from None
    text = data.decode("iso-8859-1")
    # Kept as UTF-8, where these characters take two bytes: the limits are about that form.
    if (size := len(text.encode())) > LONGEST_RECORD:
        raise DataError(f"record must have at most {LONGEST_RECORD} bytes; got {size} as UTF-8")
    return text


def _csv_values(text: str, reading: Reading) -> dict[str, Any]:
    # A quote left open makes the reader ask for a second line, which is how it is noticed.
    rows = csv.reader((text, ""), reading.dialect)
    try:
        fields = next(rows)
    except csv.Error:
        raise DataError("record must be one line of CSV; got a line end outside quotes") from None
    if rows.line_num > 1:
        raise DataError("record must close its quotes; got a quote left open")
    if len(fields) != len(reading.header):
        raise DataError(f"record must have {len(reading.header)} fields; got {len(fields)}")
    return {role: fields[place] for role, place in reading.places.items()}


def _json_values(text: str, reading: Reading) -> dict[str, Any]:
    try:
        found = _decode_object(text)
    except msgspec.ValidationError as error:
        raise DataError(f"record must be a JSON object; got {_quote(text)} ({error})") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise DataError(f"record must be JSON; got {_quote(text)} ({error})") from None
    except RecursionError:
        raise DataError("record must be a JSON object; got one nested too deeply") from None
    values = {role: found.get(column) for role, column in reading.columns.items()}
    for role in _TEXTS:
        if role in values:
            values[role] = _json_text(role, values[role], text, reading.columns[role])
    return values


def _json_text(role: str, value: object, record: str, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        if "\0" in value:
            raise DataError(f"{role} must be text; got a NUL character")
        return value
    if type(value) in (int, float):
        # A number that stands for a text keeps its digits: 17850 and 17850.0 are two customers.
        return bytes(_decode_raw(record)[column]).decode()
    raise DataError(f"{role} must be a text or a number; got {_quote(value)}")


def _quantity(value: Any) -> int:
    if isinstance(value, str):
        return parse_quantity(value)
    if type(value) in (int, float) and value == int(value):
        if abs(value) > LARGEST_QUANTITY:
            raise DataError(_too_large(_quote(value)))
        return int(value)
    raise DataError(f"quantity must be a whole number; got {_quote(value)}")


def _price(value: Any) -> float:
    if isinstance(value, str):
        return parse_price(value)
    # An integer of hundreds of digits is too large for a float.
    if type(value) is float or (type(value) is int and abs(value) < 10**300):
        return float(value)
    # An absent price is treated as an empty one in CSV.
    raise DataError(f"price must be a decimal number; got {_quote(value)}")


def _time(value: object, dates: str) -> int:
    if isinstance(value, str):
        return parse_time(value, dates)
    if type(value) is int:
        time_us = value * (1_000 if value >= _MILLISECONDS_FROM else 1_000_000)
        if _EARLIEST_US <= time_us < _LATEST_US:
            return time_us
        raise DataError(f"time must be in the years {YEARS[0]} to {YEARS[1]}; got {value}")
    raise DataError(f"time must be {_EXAMPLES[dates]}, or epoch seconds; got {_quote(value)}")


def _no_time(text: str, dates: str) -> str:
    return f"time must be {_EXAMPLES[dates]}; got {_quote(text)}"


def _too_large(got: str) -> str:
    return f"quantity must be within 2,147,483,647 either way; got {got}"


def _quote(value: Any) -> str:
    """Show a value in an error's text: on one line, and short."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    shown = msgspec.json.encode(value).decode()
    return shown if len(shown) <= 40 else shown[:37] + "..."
