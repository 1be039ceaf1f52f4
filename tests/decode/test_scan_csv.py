"""The scan of CSV: fields as Python's csv reads them, few records left to the slow path."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decode_twin
from oddlot.decode.decoder import Decoder, _workspace
from oddlot.decode.reading import Reading
from oddlot.engine.compiled import IS_COMPILED

COLUMNS = {
    "sku": "sku", "quantity": "quantity", "time": "time", "price": "price", "description": "text"
}  # fmt: skip
HEADER = ("text", "sku", "quantity", "time", "price")
FIELD = st.lists(
    st.sampled_from(['"', '""', ",", ";", "\n", "\r", "a", " ", "é", "\t", "\0", "€", "bc" * 9]),
    max_size=8,
).map("".join)
QUOTED = FIELD.map(lambda text: '"' + text.replace('"', '""') + '"')


def count_odd(data: bytes, reading: Reading) -> tuple[int, int]:
    """Return how many lines a scan finds, and how many it leaves to the slow path."""
    decoder = Decoder(reading, "orders", 0)
    _workspace.text[: len(data)] = np.frombuffer(data, np.uint8)
    _workspace.text[len(data) : len(data) + 64] = 0
    lines, odd, *_ = decoder._scan(0, len(data), is_last=True)
    return lines, odd


@given(
    st.lists(st.tuples(FIELD | QUOTED, FIELD | QUOTED), max_size=6),
    st.sampled_from([",", ";", "\t", "|", "a"]),
    st.sampled_from(["auto", "utf-8", "iso-8859-1"]),
    st.sampled_from(["utf-8", "cp1252"]),
)
@settings(max_examples=150 if IS_COMPILED else 10, deadline=None)
def test_fields_are_those_of_the_csv_module(
    texts: list[tuple[str, str]], delimiter: str, encoding: str, written: str
) -> None:
    reading = Reading("csv", COLUMNS, HEADER, delimiter, encoding)
    rows = [delimiter.join((*two, "6", "2010-12-01 08:26", "2.5")) for two in texts]
    data = "\n".join(rows).encode(written, "replace")
    assert not decode_twin.difference(data, reading, [data], restarts=False)


@pytest.mark.parametrize(
    "text",
    ["plain", '"a, b"', '"say ""hi"""', '"two\nlines"', '"a"b', "Camisón", "tab\there", '""'],
)
@pytest.mark.parametrize("written", ["utf-8", "cp1252"])
def test_quotes_and_accents_need_no_slow_path(text: str, written: str) -> None:
    reading = Reading("csv", COLUMNS, HEADER)
    data = f"{text},22423,6,2010-12-01 08:26,2.5\n".encode(written) * 5
    assert count_odd(data, reading) == (5, 0)
    assert not decode_twin.difference(data, reading, [data], restarts=False)


def test_a_source_of_one_column_has_only_rejects() -> None:
    columns = {"sku": "a", "quantity": "a", "time": "a"}
    data = b"1\n2010-01-01\n\n,\n"
    assert not decode_twin.difference(data, Reading("csv", columns, ("a",)), [data], restarts=False)


def test_two_roles_may_share_a_column() -> None:
    columns = COLUMNS | {"customer": "text", "invoice": "sku", "event": "text"}
    data = b'"' + b"x" * 40_000 + b'""",s,6.0,2010-12-01 08:26,2.5\nx,s,6,2010-12-01 08:26,2.5\n'
    reading = Reading("csv", columns, HEADER)
    assert not decode_twin.difference(data, reading, [data], restarts=False)
