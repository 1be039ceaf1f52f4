"""What a source looks like, decided from its bytes and never guessed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddlot.decode.dates import WINDOW
from oddlot.decode.layout import look
from oddlot.decode.reading import Reading, Settings
from oddlot.errors import ConfigError

PLAIN = b"sku,quantity,time\n"


def pieces_of(data: bytes, cuts: list[int]) -> tuple[bytes, Callable[[], bytes]]:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    rest = iter([piece for piece in pieces[1:] if piece])
    return pieces[0], lambda: next(rest, b"")


def look_at(data: bytes, **settings: object) -> tuple[Reading, int]:
    head, more = pieces_of(data, [])
    return look("orders.csv", head, more, Settings(**settings))  # type: ignore[arg-type]


def refuse(data: bytes, **settings: object) -> str:
    with pytest.raises(ConfigError) as caught:
        look_at(data, **settings)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_real_file_is_month_first_though_its_first_20_000_lines_do_not_say(
    online_retail: Path,
) -> None:
    asked = 0
    with gzip.open(online_retail) as file:

        def more() -> bytes:
            nonlocal asked
            asked += 1
            return file.read(1 << 16)

        reading, skip = look("OnlineRetail.csv", more(), more, Settings())
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
    assert reading.header == tuple(header.split(","))
    assert skip == len(header) + 2
    assert (reading.format, reading.delimiter, reading.dates) == ("csv", ",", "month-first")
    assert set(reading.columns) == {
        *("sku", "quantity", "time", "invoice", "price", "customer", "description", "country")
    }
    assert asked < 100, "reading must stop where the dates are decided"


SOURCES = [
    b"",
    PLAIN,
    PLAIN + b"a,1,2011-01-02\n",
    PLAIN + b"a,1,1/2/2011\nb,1,1/13/2011",
    PLAIN + b"a,1,1/2/2011\nb,1,13/1/2011 9:00\n",
    PLAIN + b"a,1,1/13/2011\nb,1,13/1/2011\n",
    PLAIN + b"a,1,1/2/2011\n",
    b'\xef\xbb\xbf\n\r\n"s\nku"|quantity|time|"no\nte"\n',
    b'{"sku":1,"quantity":2}\n{"time":"1\\/31\\/2011"}\n',
    b"a\0,b\n",
]


@given(st.sampled_from(SOURCES), st.lists(st.integers(0, 60), max_size=8))
def test_the_answer_does_not_depend_on_how_the_source_is_cut(data: bytes, cuts: list[int]) -> None:
    answers: list[object] = []
    for some in ([], cuts):
        head, more = pieces_of(data, some)
        try:
            answers.append(look("orders.csv", head, more, Settings()))
        except ConfigError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_shows_known_names(delimiter: str) -> None:
    header = '"Stock Code";quantity;"Invoice_Date";"a,b,c|d,e|f"'.replace(";", delimiter)
    reading, skip = look_at(header.encode() + b"\r\n")
    assert reading.delimiter == delimiter
    assert reading.columns == {
        "sku": "Stock Code",
        "quantity": "quantity",
        "time": "Invoice_Date",
    }
    assert skip == len(header) + 2


@pytest.mark.parametrize("delimiter", [":", "\x1f", " "])
def test_a_declared_delimiter_is_taken(delimiter: str) -> None:
    data = PLAIN.replace(b",", delimiter.encode())
    assert look_at(data, delimiter=delimiter)[0].header == ("sku", "quantity", "time")


def test_mark_and_blank_lines_before_the_header_are_skipped() -> None:
    reading, skip = look_at(b"\xef\xbb\xbf\r\n \n" + PLAIN + b"a,1,2011-01-02\n")
    assert reading.header == ("sku", "quantity", "time")
    assert skip == 3 + 2 + 2 + len(PLAIN)


def test_a_header_without_lines_is_fine() -> None:
    assert look_at(PLAIN.rstrip())[1] == len(PLAIN) - 1
    assert look_at(PLAIN)[0].dates == "iso"


def test_names_of_other_encodings_are_read() -> None:
    assert look_at("sku,quantity,time,Größe\n".encode())[0].header[3] == "Größe"
    assert look_at("sku,quantity,time,Größe\n".encode("iso-8859-1"))[0].header[3] == "Größe"
    assert "header must be UTF-8" in refuse(b"sku,quantity,time,\xfc\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; expected a header and order lines"),
        (b"\xef\xbb\xbf\r\n\n", "is empty; expected a header and order lines"),
        (
            b"Invoice,Qty,Date\n",
            "no column for quantity; columns are: Invoice, Qty, Date. "
            "Map it: oddlot detect orders.csv --map quantity=Qty",
        ),
        (
            b"sku,Order Qty,time\n",
            "no column for quantity; columns are: sku, Order Qty, time. "
            "Map it: oddlot detect orders.csv --map 'quantity=Order Qty'",
        ),
        (
            b"a,quantity,time\n",
            "no column for sku; columns are: a, quantity, time. "
            "Map it: oddlot detect orders.csv --map sku=COLUMN",
        ),
        (b"sku,quantity,time,sku\n", "header must name each column once; got sku twice"),
        (
            b"sku,quantity,Date,Time\n",
            "columns Date and Time could each be time; "
            "say which: oddlot detect orders.csv --map time=Date",
        ),
        (
            b"536365,85123A,6,12/1/2010 8:26\n",
            "line 1 must be a header that names the columns; got data such as '536365'. "
            "Put a line such as InvoiceNo,StockCode,Quantity,InvoiceDate in front",
        ),
        (b"sku\0,quantity\n", "must be text, CSV or JSON Lines; got binary data"),
        (b"PAR1\x15\x04", "must be text, CSV or JSON Lines; got Parquet"),
        (
            "sku,quantity".encode("utf-16"),
            "must be text, CSV or JSON Lines; got UTF-16; save it as UTF-8",
        ),
        (b"sku" * 30_000, "line 1 must be a header; got a line longer than 65536 bytes"),
        (
            b"sku,quantity,time\ra,1,2011-01-02\r",
            "line 1 must be a header; got lines that end in CR alone; save them with LF or CRLF",
        ),
        (
            b'"sku,quantity',
            'line 1 must be a header; got quotes that do not close, in "sku,quantity',
        ),
        (b'[{"sku":1}]', "must be JSON Lines, an object on each line; got a JSON array"),
        (b"{sku: 1}\n", "must be JSON Lines, an object on each line; found none"),
        (
            b'{"sku":1,"amount":2,"time":0}\n',
            "no column for quantity; columns are: sku, amount, time. "
            "Map it: oddlot detect orders.csv --map quantity=amount",
        ),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_with_advice(data: bytes, message: str) -> None:
    assert refuse(data) == f"orders.csv: {message}"


def test_a_stray_nul_further_down_is_left_to_the_records() -> None:
    data = PLAIN + b"a,1,2011-01-02\n" * 100 + b"b\0,1,2011-01-02\n"
    assert look_at(data)[0].dates == "iso"


def test_a_declared_column_is_taken_before_a_known_name() -> None:
    reading, _ = look_at(PLAIN[:-1] + b",when\n", columns={"time": "when"})
    assert reading.columns["time"] == "when"


def test_two_unnamed_columns_do_no_harm() -> None:
    assert look_at(b"sku,quantity,time,,\n")[0].header == ("sku", "quantity", "time", "", "")


def test_a_wrong_declaration_suggests_the_nearest() -> None:
    assert refuse(b"sku,Qty,time\n", columns={"quantity": "Qyt"}) == (
        "orders.csv: no column 'Qyt' for quantity (did you mean Qty?); columns are: sku, Qty, time"
    )
    assert refuse(b"sku,Qty,time\n", columns={"quantitiy": "Qty"}).endswith(
        "got 'quantitiy' (did you mean quantity?)"
    )
    assert refuse(PLAIN, dates="month_first") == (
        "orders.csv: dates must be one of: auto, iso, month-first, day-first; "
        "got 'month_first' (did you mean month-first?)"
    )
    assert "format must be one of" in refuse(PLAIN, format="xml")
    assert "encoding must be one of" in refuse(PLAIN, encoding="ascii")
    assert "delimiter must be auto or one character" in refuse(PLAIN, delimiter="::")


def test_json_columns_are_the_keys_of_all_first_records() -> None:
    data = b'{"sku":1,"quantity":1,"time":1}\nnot json\n[1]\n{"CustomerID":5,"event_id":7}\n'
    reading, skip = look_at(data)
    assert (reading.format, reading.header, reading.dates, skip) == ("jsonl", (), "iso", 0)
    assert reading.columns == {
        "sku": "sku",
        "quantity": "quantity",
        "time": "time",
        "customer": "CustomerID",
        "event": "event_id",
    }


@pytest.mark.parametrize(
    ("times", "dates"),
    [
        (["2011-01-02 08:00", "13/1/2011"], "iso"),
        (["nonsense", "", "2011-01-02T08:00:00Z"], "iso"),
        (["nonsense", "13/1/2011"], "day-first"),
        (["nonsense"], "iso"),
        (["1/2/2011 8:26", "2/28/2011 8:26"], "month-first"),
        (["1.2.2011", "28.02.2011"], "day-first"),
        (["1-2-2011", "02-28-2011 10:00:00"], "month-first"),
        (["1/2/2011", "2/30/2011", "13/13/2011", "31/2/2011"], None),
        (["1/1/2011", "1/2/2011"], None),
    ],
)
def test_dates_are_decided_only_by_what_reads_one_way(times: list[str], dates: str | None) -> None:
    data = PLAIN + "".join(f"a,1,{time}\n" for time in times).encode()
    if dates is None:
        assert refuse(data) == (
            "orders.csv: dates such as 1/2/2011 can be read month-first or day-first; "
            "say which: --dates month-first or --dates day-first"
        )
    else:
        assert look_at(data)[0].dates == dates
    for declared in ("iso", "month-first", "day-first"):
        assert look_at(data, dates=declared)[0].dates == declared


def test_dates_that_read_both_ways_in_turn_are_refused() -> None:
    assert refuse(PLAIN + b"a,1,1/2/2011\nb,2,12/25/2010\nc,3,26/12/2010\n") == (
        "orders.csv: dates must be all month-first or all day-first; got 12/25/2010 and "
        "26/12/2010; say which is right: --dates month-first or --dates day-first"
    )


def test_a_date_in_a_description_is_proof_of_nothing() -> None:
    header = b"description,sku,quantity,time\n"
    lines = b'"sold 13/1/2011, ""new""",a,1,1/2/2011\nfor 25/12/2010,b,1,1/2/2011\n'
    assert "can be read" in refuse(header + lines)
    assert look_at(header + lines + b"12/13/2011,c,1,14/1/2011\n")[0].dates == "day-first"
    assert look_at(header + lines + b'"two\nlines\n",c,1,1/14/2011\n')[0].dates == "month-first"


@pytest.mark.parametrize("size", [0, 3 * WINDOW])
def test_dates_are_looked_for_to_the_end(size: int) -> None:
    line = b"a,1,1/2/2011 8:26\r\n"
    data = PLAIN + line * (size // len(line) + 1)
    assert "can be read" in refuse(data)
    assert look_at(data + b"b,1,1/13/2011")[0].dates == "month-first"
    assert look_at(data + b"x" * (2 * WINDOW) + b"\nb,1,13/1/2011\n")[0].dates == "day-first"


def test_the_order_is_found_at_every_place_around_a_window_end() -> None:
    line = b"a,1,1/2/2011 8:26\n"
    filler = line * (WINDOW // len(line) - 1)
    for padding in range(0, 40, 3):
        data = PLAIN + filler + b"b" * padding + line + b"c,1,1/13/2011 8:26\n" + line
        assert look_at(data)[0].dates == "month-first"


def test_a_pipe_with_iso_times_is_not_made_to_wait() -> None:
    def more() -> bytes:
        raise AssertionError("asked for more than the first line")

    reading, _ = look("-", PLAIN + b"a,1,2011-01-02\n", more, Settings())
    assert reading.dates == "iso"
