"""Parquet and XLSX files as CSV, so that everything after goes one way."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from oddlot.errors import ConfigError

_PARQUET_ROWS = 65_536  # in a chunk; a few MB
_XLSX_ROWS = 4_096
_NEEDS_QUOTES = '[",\r\n]'


def parquet_chunks(path: str) -> Iterator[bytes]:
    """Yield a Parquet file as CSV: UTF-8, the header first, times ISO in UTC, LF.

    A column of floats that are all whole becomes whole numbers: `17850.0`, as loaders write ids
    with gaps, is `17850`. NaN and null are empty fields. Nested columns and durations are left out.

    Args:
        path: the file.

    Raises:
        ConfigError: the file cannot be read, or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        Path(path).open("rb").close()  # its errors are clearer than Arrow's
        with pq.ParquetFile(path) as file:
            fields = [
                (place, field)
                for place, field in enumerate(file.schema_arrow)
                if not (pa.types.is_nested(field.type) or pa.types.is_duration(field.type))
            ]
            yield _csv_line([field.name for _, field in fields])
            if not fields:
                return
            whole = _whole_columns(file)
            for batch in file.iter_batches(_PARQUET_ROWS):
                columns = [
                    _quote(_as_text(batch.column(place), place in whole)) for place, _ in fields
                ]
                yield _join(columns)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise ConfigError(_explain(path, "Parquet", error)) from None


def xlsx_chunks(path: str) -> Iterator[bytes]:
    """Yield a spreadsheet as CSV: UTF-8, the header first, times ISO, LF.

    The header is the first row that is not empty in the first sheet that has one. Later sheets
    with the same header are read after it (a year on each sheet, say), other sheets are not.
    Whole numbers are written without a point, as the spreadsheet shows them.

    Args:
        path: the file.

    Raises:
        ConfigError: the file cannot be read, or is damaged.
    """
    from xml.etree.ElementTree import ParseError
    from zipfile import BadZipFile
    from zlib import error as ZlibError  # noqa: N812 - a class with a function's name

    from openpyxl.utils.exceptions import InvalidFileException

    damage = (BadZipFile, InvalidFileException, ParseError, ZlibError)
    # openpyxl has no error of its own for most damage: what it trips over comes out.
    trips = (AttributeError, EOFError, KeyError, IndexError, TypeError, ValueError)
    try:
        with Path(path).open("rb") as file:
            yield from _sheet_chunks(file)
    except (*damage, *trips, OSError, NotImplementedError) as error:
        raise ConfigError(_explain(path, "XLSX", error)) from None


def _explain(path: str, kind: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{path}: cannot be read: {error.strerror}"
    first = str(error).strip().split("\n", 1)[0] or type(error).__name__
    return f"{path}: must be a whole {kind} file; it is damaged or something else ({first})"


def _csv_line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    # The writer quotes the characters of its line end: with LF alone, a CR would stand bare.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()[:-2].encode() + b"\n"


def _whole_columns(file: Any) -> set[int]:
    """Return the places of the float columns in which every number is whole.

    Looked at over the whole file: one batch of prices may happen to be whole.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = file.schema_arrow.names
    whole = {
        place
        for place, field in enumerate(file.schema_arrow)
        # Columns are read by name, so that two of one name cannot be told apart.
        if pa.types.is_floating(field.type) and names.count(field.name) == 1 and field.name
    }
    for place in sorted(whole):
        for batch in file.iter_batches(_PARQUET_ROWS, columns=[names[place]]):
            numbers = batch.column(0).cast(pa.float64()) if batch.num_columns else pa.array([0.5])
            numbers = numbers.filter(pc.is_finite(numbers))
            is_whole = pc.and_(
                pc.equal(pc.trunc(numbers), numbers), pc.less(pc.abs(numbers), 2.0**63)
            )
            if not pc.all(is_whole, min_count=0).as_py():
                whole.discard(place)
                break
    return whole


def _as_text(column: Any, is_whole: bool) -> Any:
    """Return a column as strings, null where there is nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.cast(kind.value_type), is_whole)
    if pa.types.is_timestamp(kind):
        # A time with a zone is UTC inside already; nanoseconds are cut off.
        micros = column.cast(pa.timestamp("us"), safe=False)
        seconds = micros.cast(pa.timestamp("s"), safe=False)
        has_fractions = not pc.all(pc.equal(seconds.cast(micros.type), micros), min_count=0).as_py()
        return (micros if has_fractions else seconds).cast(pa.string())
    if pa.types.is_floating(kind):
        # Not by way of float64: a 32-bit 2.55 would come out as 2.549999952316284.
        numbers = column.cast(pa.float32()) if pa.types.is_float16(kind) else column
        numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
        if is_whole and pc.all(pc.is_finite(numbers), min_count=0).as_py():
            return numbers.cast(pa.int64()).cast(pa.string())
        texts = numbers.cast(pa.string())
        if pc.any(pc.match_substring(texts, "e"), min_count=0).as_py():
            return pa.array([text and _plain(text) for text in texts.to_pylist()], pa.string())
        return texts
    if pa.types.is_decimal(kind):
        return pa.array(
            [None if n is None else f"{n.normalize():f}" for n in column.to_pylist()], pa.string()
        )
    return column.cast(pa.string())


def _plain(text: str) -> str:
    """Return a number's digits without an exponent, which a price cannot have."""
    return f"{Decimal(text):f}" if "e" in text else text


def _quote(texts: Any) -> Any:
    """Quote the fields that need it, as RFC 4180 says; null becomes the empty field."""
    import pyarrow.compute as pc

    texts = pc.fill_null(texts, "")
    needs = pc.match_substring_regex(texts, _NEEDS_QUOTES)
    if not pc.any(needs, min_count=0).as_py():
        return texts
    doubled = pc.replace_substring(texts, '"', '""')
    return pc.if_else(needs, pc.binary_join_element_wise('"', doubled, '"', ""), texts)


def _join(columns: Sequence[Any]) -> bytes:
    """Join columns of fields to lines: the bytes of Arrow's joined strings are the CSV."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    # Large strings: a batch of long texts may pass 2 GB, the limit of the plain ones.
    large = pa.large_string()
    rows = pc.binary_join_element_wise(
        *(column.cast(large) for column in columns), pa.scalar(",", large)
    )
    rows = pc.binary_join_element_wise(rows, pa.scalar("", large), pa.scalar("\n", large))
    _, offsets, text = rows.buffers()
    if not len(rows):
        return b""
    ends = np.frombuffer(offsets, np.int64)[rows.offset : rows.offset + len(rows) + 1]
    return bytes(memoryview(text)[ends[0] : ends[-1]])


def _sheet_chunks(file: BinaryIO) -> Iterator[bytes]:
    import openpyxl

    # openpyxl warns about styles and validations that are of no interest here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    try:
        header: list[str] = []
        for sheet in book.worksheets:
            # The sheet's own note of its size is often wrong, and rows would be cut to it.
            sheet.reset_dimensions()
            rows = _filled_rows(sheet.iter_rows(values_only=True))
            first = next(rows, [])
            if not header and first:
                header = first
                yield _csv_line(header)
            if not first or first != header:
                continue
            while block := list(islice(rows, _XLSX_ROWS)):
                # A row ends at its last filled cell; one longer than the header is a reject.
                yield b"".join(_csv_line(row + [""] * (len(header) - len(row))) for row in block)
    finally:
        book.close()


def _filled_rows(rows: Iterable[Sequence[object]]) -> Iterator[list[str]]:
    """Yield the rows that are not empty, as texts, up to the last filled cell of each."""
    rows = iter(rows)
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = next(rows, None)
        if row is None:
            return
        cells = [_cell_text(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield cells


def _cell_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else _plain(repr(cell))
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    if isinstance(cell, date):
        return cell.isoformat()
    return str(cell)
