"""Records are cut out of an orders file where Python's csv would cut them."""

from __future__ import annotations

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from oddlot.decode.reading import Settings
from oddlot.decode.record import LONGEST_RECORD
from oddlot.replay.records import Source

field = st.text(st.sampled_from('ab",\n\r\\ é'), max_size=4)


@settings(max_examples=40)
@given(st.lists(st.tuples(field, field), max_size=8), st.integers(1, 50), st.booleans())
def test_records_are_cut_where_csv_says(
    rows: list[tuple[str, str]], size: int, has_final_end: bool
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for one, other in rows:
        writer.writerow([one, other, "1", "2024-01-08"])
    data = out.getvalue().encode()
    header = b"description,sku,quantity,time\n"
    text = header + (data if has_final_end else data.removesuffix(b"\n"))
    chunks = (text[at : at + size] for at in range(0, len(text), size))
    source = Source("orders.csv", chunks, Settings())
    records = [record for some in source.records() for record in some]
    assert source.header == header
    assert b"".join(records) == data
    assert len(records) == len(rows)


def test_a_quote_that_nothing_closes_does_not_swallow_the_file() -> None:
    row = b"A,1,2024-01-08\n"
    text = b"sku,quantity,time\n" + row + b'"open\n' + row * (LONGEST_RECORD // len(row) + 9)
    source = Source("orders.csv", iter([text, row, row]), Settings())
    records = [record for some in source.records() for record in some]
    assert records[:2] == [row, b'"open\n']
    assert set(records[2:]) == {row}
    assert b"".join(records) == text[18:] + row * 2


def test_a_huge_line_passes_as_one_record() -> None:
    pieces = [b"sku,quantity,time\n", *[b"x" * 1_000_000] * 20, b"y\nA,1,2024-01-08\n"]
    source = Source("orders.csv", iter(pieces), Settings(dates="iso"))
    records = [record for some in source.records() for record in some]
    assert [len(record) for record in records] == [20_000_002, 15]
