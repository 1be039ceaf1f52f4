"""Parquet and XLSX come out as the CSV that they were, whatever types they had."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddlot.decode.layout import look
from oddlot.decode.reading import Settings
from oddlot.decode.record import read_record
from oddlot.decode.table import parquet_chunks, xlsx_chunks
from oddlot.errors import ConfigError

NOON = datetime(2010, 12, 1, 12, 0)  # noqa: DTZ001 - tables hold times without a zone


@pytest.fixture
def from_parquet(tmp_path: Path) -> Callable[[pa.Table], str]:
    def write(table: pa.Table, **options: object) -> str:
        file = tmp_path / "orders.parquet"
        pq.write_table(table, file, **options)
        return b"".join(parquet_chunks(str(file))).decode()

    return write


@pytest.fixture
def from_xlsx(tmp_path: Path) -> Callable[..., str]:
    def write(*sheets: Sequence[Sequence[object]]) -> str:
        book = openpyxl.Workbook()
        book.remove(book.active)
        for rows in sheets:
            sheet = book.create_sheet()
            for row in rows:
                sheet.append(row)
        file = tmp_path / "orders.xlsx"
        book.save(file)
        return b"".join(xlsx_chunks(str(file))).decode()

    return write


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([17850.0, None, 13047.0]), ["17850", "", "13047"]),
        (pa.array([17850.0, float("nan"), 13047.5]), ["17850", "", "13047.5"]),
        (
            pa.array([2.55, 1e-7, 3e20], pa.float64()),
            ["2.55", "0.0000001", "300000000000000000000"],
        ),
        (pa.array([2.55, 0.1], pa.float32()), ["2.55", "0.1"]),
        (pa.array([2.5], pa.float16()), ["2.5"]),
        (pa.array([-6, None], pa.int16()), ["-6", ""]),
        (pa.array([Decimal("2.50"), Decimal("-0.00000001")]), ["2.5", "-0.00000001"]),
        (pa.array([NOON, None], pa.timestamp("ns")), ["2010-12-01 12:00:00", ""]),
        (
            pa.array([NOON + timedelta(milliseconds=5)], pa.timestamp("ms")),
            ["2010-12-01 12:00:00.005000"],
        ),
        (
            pa.array(
                [NOON.replace(tzinfo=timezone(timedelta(hours=2)))], pa.timestamp("us", "UTC")
            ),
            ["2010-12-01 10:00:00"],
        ),
        (pa.array([date(2010, 12, 1)]), ["2010-12-01"]),
        (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", ""]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([None, None]), ["", ""]),
        (pa.array(['a"b', "c,d", "e\nf", "£5"]), ['"a""b"', '"c,d"', '"e\nf"', "£5"]),
    ],
)
def test_a_column_of_any_type_becomes_text(
    from_parquet: Callable[[pa.Table], str], values: pa.Array, expected: list[str]
) -> None:
    table = pa.table({"first": ["x"] * len(values), "column.two": values})
    assert from_parquet(table) == "first,column.two\n" + "".join(f"x,{one}\n" for one in expected)


def test_a_price_that_is_whole_in_one_batch_only_is_written_alike(
    from_parquet: Callable[..., str],
) -> None:
    prices = pa.table({"price": [2.0, 3.0, 2.5], "customer": [1.0, 2.0, 3.0]})
    text = from_parquet(prices, row_group_size=1)
    assert [float(line.split(",")[0]) for line in text.split()[1:]] == [2.0, 3.0, 2.5]
    assert [line.split(",")[1] for line in text.split()[1:]] == ["1", "2", "3"]


@given(st.lists(st.tuples(st.text(max_size=5), st.text('",\r\n x', max_size=5)), max_size=20))
@settings(max_examples=30)
def test_texts_survive_parquet_and_csv(rows: list[tuple[str, str]]) -> None:
    rows = [tuple(cell.replace("\0", "") for cell in row) for row in rows]  # type: ignore[misc]
    table = pa.table({"a": [row[0] for row in rows], "b,c": [row[1] for row in rows]})
    table = table.cast(pa.schema([("a", pa.string()), ("b,c", pa.string())]))
    with io.BytesIO() as stored:
        pq.write_table(table, stored)
        file = Path(_scratch, "texts.parquet")
        file.write_bytes(stored.getvalue())
    text = b"".join(parquet_chunks(str(file))).decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["a", "b,c"],
        *([*row] for row in rows),
    ]


_scratch = ""


@pytest.fixture(autouse=True, scope="module")
def _scratch_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _scratch  # noqa: PLW0603 - hypothesis would share a test's own tmp_path anyway
    _scratch = str(tmp_path_factory.mktemp("table"))


def test_a_parquet_file_without_rows_is_a_header(from_parquet: Callable[[pa.Table], str]) -> None:
    table = pa.table({"sku": pa.array([], pa.string()), "price": pa.array([], pa.float64())})
    assert from_parquet(table) == "sku,price\n"


def test_nested_columns_are_left_out(from_parquet: Callable[[pa.Table], str]) -> None:
    assert from_parquet(pa.table({"a": [[1]], "b": [2], "c": [{"d": 1}]})) == "b\n2\n"


def test_cells_become_text(from_xlsx: Callable[..., str]) -> None:
    header: list[object] = ["sku", "quantity", "time", "price", "note"]
    rows: list[list[object]] = [
        [None] * 5,
        header,
        ["85123A", 6, NOON, 2.55, "a, b"],
        [84406, 6.0, NOON + timedelta(seconds=5), 1e-7, None],
        [None] * 5,
        ["x", -1, date(2010, 12, 1), 3, True],
    ]
    assert from_xlsx(rows) == (
        "sku,quantity,time,price,note\n"
        '85123A,6,2010-12-01 12:00:00,2.55,"a, b"\n'
        "84406,6,2010-12-01 12:00:05,0.0000001,\n"
        "x,-1,2010-12-01 00:00:00,3,TRUE\n"
    )


def test_sheets_with_the_same_header_follow_each_other(from_xlsx: Callable[..., str]) -> None:
    header = ["sku", "quantity"]
    text = from_xlsx([], [header, ["a", 1]], [["About"]], [header, ["b"]])
    assert text == "sku,quantity\na,1\nb,\n"


def test_a_line_end_in_a_cell_is_quoted(from_xlsx: Callable[..., str]) -> None:
    assert from_xlsx([["sku", "a\nb"], ["c\nd", 1]]) == 'sku,"a\nb"\n"c\nd",1\n'


def test_a_row_longer_than_the_header_is_kept_to_be_rejected(from_xlsx: Callable[..., str]) -> None:
    assert from_xlsx([["sku", "quantity"], ["a", 1, "more"]]) == "sku,quantity\na,1,more\n"


def test_a_workbook_without_cells_is_empty(from_xlsx: Callable[..., str]) -> None:
    assert from_xlsx([]) == ""


def test_a_table_is_read_as_its_csv_would_be(
    from_xlsx: Callable[..., str], from_parquet: Callable[[pa.Table], str]
) -> None:
    names = ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]
    row: list[object] = ["536365", "85123A", 6, NOON, 2.55, 17850.0]
    table = pa.table({name: [cell] for name, cell in zip(names, row, strict=True)})
    for text in (from_xlsx([names, row]), from_parquet(table)):
        reading, skip = look("orders", text.encode(), lambda: b"", Settings())
        fields = read_record(text.encode()[skip:].rstrip(b"\n"), reading)
        assert (fields.sku, fields.quantity, fields.price) == ("85123A", 6, 2.55)
        assert fields.customer == "17850"
        assert fields.time_us == NOON.replace(tzinfo=UTC).timestamp() * 1e6


@pytest.mark.parametrize("chunks", [parquet_chunks, xlsx_chunks])
def test_a_file_that_is_not_there_is_refused(
    chunks: Callable[[str], Iterator[bytes]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="orders: cannot be read: No such file or directory"):
        list(chunks(str(tmp_path / "orders")))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        list(chunks(str(tmp_path)))


@pytest.mark.parametrize("kind", ["parquet", "xlsx"])
def test_a_damaged_file_is_refused_or_read(
    kind: str,
    from_xlsx: Callable[..., str],
    from_parquet: Callable[[pa.Table], str],
    tmp_path: Path,
) -> None:
    from_xlsx([["sku", "quantity"], *(["a", number] for number in range(50))])
    from_parquet(pa.table({"sku": ["a"] * 50, "quantity": range(50)}))
    file = tmp_path / f"orders.{kind}"
    chunks = {"parquet": parquet_chunks, "xlsx": xlsx_chunks}[kind]
    whole = file.read_bytes()
    damaged = [b"", b"sku,quantity\n", whole[: len(whole) // 2], whole[:-20]]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        for at in range(0, len(whole), len(whole) // 40)
    ]
    refused = 0
    for data in damaged:
        file.write_bytes(data)
        try:
            list(chunks(str(file)))
        except ConfigError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(error).startswith(str(file))
    assert refused >= 4
