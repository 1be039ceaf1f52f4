"""The rows of a rule are what Python's own writers would have written."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lines import Line, make_lines
from oddlot.alerts.rows import COLUMNS, RowWriter
from oddlot.detectors.contract import RULE_FOUND

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
OWN = ("WindowSum", "WindowCount", "AverageQuantity")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_US, LAST_US = -2_208_988_800_000_000, 7_289_654_400_000_000 - 1  # years 1900 to 2200

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    st.text('ab,"\\\n\r\t;|é☕ \x01\x1f\x7f', max_size=20),
)
times = st.one_of(
    st.integers(FIRST_US, LAST_US),
    st.integers(FIRST_US // 1_000_000, LAST_US // 1_000_000).map(lambda second: second * 1_000_000),
    st.sampled_from([0, -1, 1, 951_782_400_000_000, -86_400_000_000, FIRST_US, LAST_US]),
)
whole = st.one_of(st.integers(-(2**31), 2**31), st.integers(-(10**17), 10**17))
findings = st.lists(
    st.tuples(
        times, texts, texts, texts, st.integers(-(2**31), 2**31), whole,
        st.one_of(st.integers(1, 9), st.integers(1, 10**12)), st.booleans(),
    ),
    max_size=8,
)  # fmt: skip


def write(file_format: str, rows: list[tuple[Any, ...]], delimiter: str = "") -> str:
    lines = make_lines(
        [
            Line(time_us, i, quantity=quantity, texts=(invoice, sku, description, "", "UK"))
            for i, (time_us, invoice, sku, description, quantity, *_) in enumerate(rows)
        ]
    )
    found = np.zeros(len(rows), RULE_FOUND)
    for i, (*_, total, count, fires) in enumerate(rows):
        found[i] = (fires, total, count)
    writer = RowWriter(file_format, OWN, delimiter)
    body = bytes(writer.write(lines, np.arange(len(rows)), found))
    return (writer.header + body).decode()


def clock(time_us: int) -> str:
    moment = EPOCH + timedelta(microseconds=time_us)
    text = moment.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0")
    return text + (f".{moment.microsecond:06d}" if moment.microsecond else "")


def average(total: int, count: int) -> str:
    """Round to six decimals, half to even, in exact numbers."""
    micros = round(Fraction(abs(total) * 1_000_000, count))
    return f"{'-' if total < 0 else ''}{micros // 1_000_000}.{micros % 1_000_000:06d}"


def expected(rows: list[tuple[Any, ...]]) -> list[list[str]]:
    return [
        list(map(str, [*texts_of, clock(time_us), quantity, total, count, average(total, count)]))
        for time_us, *texts_of, quantity, total, count, fires in rows
        if fires
    ]


@settings(max_examples=30 if PLAIN else 200)
@given(findings)
def test_csv_rows_are_those_of_pythons_csv_writer(rows: list[tuple[Any, ...]]) -> None:
    out = [",".join([*COLUMNS, *OWN]) + "\n"]
    for row in expected(rows):
        line = io.StringIO(newline="")
        # With this line end, every version of Python quotes a carriage return.
        csv.writer(line, lineterminator="\r\n").writerow(row)
        out.append(line.getvalue().removesuffix("\r\n") + "\n")
    assert write("csv", rows) == "".join(out)


@settings(max_examples=30 if PLAIN else 200)
@given(findings)
def test_json_rows_are_read_back_by_pythons_json_as_what_they_were(
    rows: list[tuple[Any, ...]],
) -> None:
    text = write("jsonl", rows)
    assert text.count("\n") == len(expected(rows))
    read = [json.loads(line, parse_float=str) for line in text.split("\n")[:-1]]
    assert [list(map(str, row.values())) for row in read] == expected(rows)
    assert all(tuple(row) == (*COLUMNS, *OWN) for row in read)
    for row in read:
        assert isinstance(row["Quantity"], int)


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_the_longest_texts_of_the_worst_bytes_fit(file_format: str) -> None:
    for character in ('"', "\x01", "\n"):
        text = character * 20_000
        rows = [(0, text, text, text, 1, 1, 1, True)] * 4
        out = write(file_format, rows)
        assert out.count("1970-01-01 00:00:00") == 4


def test_one_column_may_be_all_three_texts() -> None:
    lines = make_lines([Line(n, n, texts=("", '"' * 9_000, "", "", "")) for n in range(30)])
    for name in ("invoice", "description"):
        for part in ("at", "size"):
            lines.line[f"{name}_{part}"] = lines.line[f"sku_{part}"]
    found = np.ones(30, RULE_FOUND)
    for file_format in ("csv", "jsonl"):
        writer = RowWriter(file_format, OWN, "")
        out = writer.write(lines, np.arange(30), found)
        assert len(out) > 30 * 3 * 18_000
        assert len(out) <= len(writer._out)


def test_with_a_comma_as_delimiter_only_lines_the_decoder_called_slow_are_quoted() -> None:
    rows = [(0, "536365", "85123A", "A, B", 1, 1, 1, True)]
    assert '"A, B"' in write("csv", rows, ",")
    assert '"A, B"' in write("csv", rows, ";")
