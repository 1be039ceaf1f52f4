"""One record to fields, held to Python's own csv, json, float and datetime."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddlot.decode.reading import Reading
from oddlot.decode.record import (
    LONGEST_RECORD,
    Fields,
    parse_price,
    parse_quantity,
    parse_time,
    read_record,
)
from oddlot.errors import DataError
from oddlot.schema import SALE

HEADER = ("invoice", "sku", "description", "quantity", "time", "price", "customer", "country")
COLUMNS = {name: name for name in HEADER}
CSV = Reading("csv", COLUMNS, HEADER, dates="month-first")
JSON = Reading("jsonl", {**COLUMNS, "event": "event"}, (), dates="month-first")
SHORT = Reading("csv", {"sku": "s", "quantity": "q", "time": "t"}, ("s", "q", "t"))

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def in_us(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def reject(data: bytes, reading: Reading = CSV) -> str:
    with pytest.raises(DataError) as caught:
        read_record(data, reading)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_line_of_the_real_file_is_read() -> None:
    data = b'536365,85123A,"HOLDER, ""HEART""",6,12/1/2010 8:26,2.55,17850,United Kingdom\r'
    assert read_record(data, CSV) == Fields(
        invoice="536365",
        sku="85123A",
        description='HOLDER, "HEART"',
        customer="17850",
        country="United Kingdom",
        quantity=6,
        time_us=in_us(datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        price=2.55,
        event="",
        kind=SALE,
    )


@given(texts, texts.filter(bool), texts, texts, texts, st.sampled_from(",;\t|"))
def test_csv_written_by_python_is_read_back(
    invoice: str, sku: str, description: str, customer: str, country: str, delimiter: str
) -> None:
    cells = [invoice, sku, description, "6", "12/1/2010 8:26", "2.5", customer, country]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    reading = Reading("csv", COLUMNS, HEADER, delimiter=delimiter, dates="month-first")
    found = read_record(text.getvalue()[:-2].encode(), reading)
    assert [found.invoice, found.sku, found.description, found.customer, found.country] == [
        *(invoice, sku, description, customer, country)
    ]


@given(
    texts,
    texts.filter(bool),
    st.none() | texts,
    st.integers(-(2**31) + 1, 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
def test_json_written_by_python_is_read_back(
    invoice: str, sku: str, customer: str | None, quantity: int, price: float, is_ascii: bool
) -> None:
    record: dict[str, object] = {
        "invoice": invoice,
        "sku": sku,
        "customer": customer,
        "quantity": quantity,
    }
    record |= {"price": price, "time": "2011-01-02T03:04:05Z", "other": [1, {"sku": "no"}]}
    found = read_record(json.dumps(record, ensure_ascii=is_ascii).encode(), JSON)
    assert (found.invoice, found.sku, found.customer) == (invoice, sku, customer or "")
    assert (found.quantity, found.price, found.country, found.event) == (quantity, price, "", "")


@given(st.binary(max_size=80), st.sampled_from([CSV, JSON, SHORT]))
def test_any_bytes_are_fields_or_a_reject(data: bytes, reading: Reading) -> None:
    try:
        read_record(data, reading)
    except DataError as error:
        assert str(error).isprintable()


def test_each_record_is_utf8_or_else_iso_8859_1() -> None:
    end = b",1,2011-01-02"
    assert read_record(b"\xc2\xa35 VOUCHER" + end, SHORT).sku == "£5 VOUCHER"
    assert read_record(b"\xa35 VOUCHER" + end, SHORT).sku == "£5 VOUCHER"
    strict = Reading("csv", SHORT.columns, SHORT.header, encoding="utf-8")
    assert reject(b"\xa35 VOUCHER" + end, strict) == "record must be UTF-8; got the byte 0xA3"
    latin = Reading("csv", SHORT.columns, SHORT.header, encoding="iso-8859-1")
    assert read_record(b"\xc2\xa35 VOUCHER" + end, latin).sku == "Â£5 VOUCHER"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"1,2,3,4,5,6,7", "record must have 8 fields; got 7"),
        (b"1,2,3,4,5,6,7,8,9", "record must have 8 fields; got 9"),
        (b"", "record must have 8 fields; got 0"),
        (b'1,2,"3,4,5,6,7,8', "record must close its quotes; got a quote left open"),
        (b"1,2,3\r4,4,5,6,7,8", "record must be one line of CSV; got a line end outside quotes"),
        (b"1,2,\0,4,5,6,7,8", "record must be text; got a NUL byte"),
        (b"1,,3,6,12/1/2010 8:26,1,7,8", "sku must not be empty"),
        (b"1,2,3,x,12/1/2010 8:26,1,7,8", "quantity must be a whole number; got 'x'"),
        (b"1,2,3,6,12/1/2010 8:26,,7,8", "price must be a decimal number; got ''"),
        (
            b"1,2,3,6,13/1/2010 8:26,1,7,8",
            "time must be a date and time such as 12/31/2010 8:26; got '13/1/2010 8:26'",
        ),
        (b"x" * (LONGEST_RECORD + 1), "record must have at most 65536 bytes; got 65537"),
        (b"\xa3" * LONGEST_RECORD, "record must have at most 65536 bytes; got 131072 as UTF-8"),
    ],
)
def test_a_reject_says_what_was_expected_and_got(data: bytes, reason: str) -> None:
    assert reject(data) == reason


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b'"quantity":1.5', "quantity must be a whole number; got 1.5"),
        (b'"quantity":"1,5"', "quantity must be a whole number; got '1,5'"),
        (b'"quantity":true', "quantity must be a whole number; got true"),
        (b'"quantity":null', "quantity must be a whole number; got nothing"),
        (b'"quantity":1180591620717411303424', "quantity must be within 2,147,483,647"),
        (b'"quantity":-2147483648', "quantity must be within 2,147,483,647"),
        (b'"sku":[1]', "sku must be a text or a number; got [1]"),
        (b'"sku":true', "sku must be a text or a number; got true"),
        (b'"sku":null', "sku must not be empty"),
        (b'"sku":"a\\u0000b"', "sku must be text; got a NUL character"),
        (b'"sku":"\\ud800"', "record must be JSON"),
        (b'"price":NaN', "record must be JSON"),
        (b'"price":1e999', "record must be a JSON object"),
        (b'"price":1' + b"0" * 400, "price must be a decimal number"),
        (b'"price":null', "price must be a decimal number; got nothing"),
        (b'"time":1.5', "time must be a date and time such as 12/31/2010 8:26, or epoch seconds"),
        (b'"time":99999999999', "time must be in the years 1900 to 2200; got 99999999999"),
        (b'"a":' + b"[" * 9999, "record must be a JSON object; got one nested too deeply"),
        (b'"a":1} {', "record must be JSON"),
    ],
)
def test_a_json_reject_says_what_was_expected_and_got(record: bytes, reason: str) -> None:
    good = b'{"sku":"a","quantity":1,"time":"2011-01-02","price":1,'
    assert reject(good + record + b"}", JSON).startswith(reason)


def test_the_last_of_two_equal_keys_wins() -> None:
    data = b'{"sku":1,"sku":2.50,"quantity":"6.0","time":1291191960,"price":"2.5"}'
    found = read_record(data, JSON)
    assert (found.sku, found.quantity) == ("2.50", 6)


def test_a_number_that_stands_for_a_text_keeps_its_digits() -> None:
    data = b'{"sku":1e3,"customer":17850.0,"event":123456789012345678901,"quantity":6.0,'
    found = read_record(data + b'"time":0,"price":-1e2}', JSON)
    assert (found.sku, found.customer, found.event) == ("1e3", "17850.0", "123456789012345678901")
    assert (found.quantity, found.price, found.time_us) == (6, -100.0, 0)


def test_epoch_times_are_seconds_or_milliseconds() -> None:
    end = b',"sku":"a","quantity":1,"price":1}'
    second = read_record(b'{"time":1291191960' + end, JSON).time_us
    assert second == read_record(b'{"time":1291191960000' + end, JSON).time_us == 1291191960000000


def test_a_source_without_prices_has_nan_prices() -> None:
    assert math.isnan(read_record(b"a,1,2011-01-02", SHORT).price)


@given(st.integers(-(2**31) + 1, 2**31 - 1))
def test_whole_numbers_are_read(number: int) -> None:
    assert parse_quantity(str(number)) == number
    assert parse_quantity(f" {number:+}.00\t") == number
    assert parse_quantity(f"{number:+015}") == number


@pytest.mark.parametrize(
    "text", ["", " ", "+", "1,5", "1e3", "٣", "6.", ".0", "6.5", "1 0", "0x1", "--1", "nan", "1_0"]
)
def test_what_is_not_a_whole_number_is_rejected(text: str) -> None:
    with pytest.raises(DataError, match="quantity must be a whole number; got "):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["2147483648", "-2147483648", str(2**70), "9" * 5000])
def test_a_quantity_that_is_too_large_is_rejected(text: str) -> None:
    with pytest.raises(DataError, match=r"quantity must be within 2,147,483,647 either way; got "):
        parse_quantity(text)


@given(st.from_regex(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})", fullmatch=True))
def test_prices_are_what_python_reads(text: str) -> None:
    assert parse_price(f" {text} ") == float(text)


@pytest.mark.parametrize(
    "text", ["", ".", "-", "1,5", "1e3", "inf", "nan", "٣", "£2", "1_0", "0x1", "9" * 400]
)
def test_what_is_not_a_decimal_number_is_rejected(text: str) -> None:
    with pytest.raises(DataError, match="price must be a decimal number; got "):
        parse_price(text)


years = st.datetimes(datetime(1900, 1, 2), datetime(2200, 12, 30))  # noqa: DTZ001 - hypothesis asks


@given(years, st.integers(-1439, 1439), st.sampled_from("T "))
def test_iso_times_are_what_python_reads(time: datetime, minutes: int, between: str) -> None:
    utc = in_us(time.replace(tzinfo=UTC))
    zone = timezone(timedelta(minutes=minutes))
    for dates in ("iso", "month-first", "day-first"):
        assert parse_time(time.isoformat(between), dates) == utc
        assert parse_time(time.isoformat(between) + "Z", dates) == utc
        there = time.replace(tzinfo=zone)
        assert parse_time(there.isoformat(between), dates) == in_us(there)
    assert parse_time(f"{time:%Y-%m-%d}", "iso") == utc // 86_400_000_000 * 86_400_000_000


@given(years, st.sampled_from("/-."))
def test_day_and_month_are_in_the_declared_order(time: datetime, separator: str) -> None:
    time = time.replace(microsecond=0)
    clock = f"{time.hour}:{time:%M:%S}"
    parts = [str(time.month), str(time.day), str(time.year)]
    utc = in_us(time.replace(tzinfo=UTC))
    assert parse_time(f"{separator.join(parts)} {clock}", "month-first") == utc
    parts[:2] = f"{time:%d}", f"{time:%m}"
    assert parse_time(f" {separator.join(parts)} {clock} ", "day-first") == utc


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "yesterday",
            "1/2/11",
            "1/2-2011",
            "2011-1-2",
            "2011-02-29",
            "2011-13-01",
            "1/2/2011x",
        ),
        *("2011-01-02 24:00", "2011-01-02 8:26", "2011-01-02 08:60", "2011-01-02 08:26:60"),
        *("2011-01-02 08", "2011-01-02 08:26:00.", "2011-01-02 08:26+24:00", "2011-01-02Z"),
        *("2011-01-02 08:26:00.1234567", "٢٠١١-01-02", "1291191960"),
    ],
)
def test_what_is_not_a_time_is_rejected(text: str) -> None:
    for dates in ("iso", "month-first", "day-first"):
        with pytest.raises(DataError, match=r"time must be a date and time such as .*; got "):
            parse_time(text, dates)


@pytest.mark.parametrize("text", ["1899-12-31", "2201-01-01", "0000-01-01", "1/1/1800"])
def test_a_time_far_from_any_shop_is_rejected(text: str) -> None:
    with pytest.raises(DataError, match="time must be in the years 1900 to 2200; got "):
        parse_time(text, "month-first")


def test_a_date_without_its_year_in_front_needs_a_declared_order() -> None:
    with pytest.raises(DataError, match="such as 2010-12-31 08:26; got '12/1/2010 8:26'"):
        parse_time("12/1/2010 8:26", "iso")


def test_a_long_value_is_cut_in_the_reason() -> None:
    assert len(reject(b"a," + b"9" * 60_000 + b"x,2011-01-02", SHORT)) < 100
