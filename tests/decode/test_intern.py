"""SKU numbers: dense, in the order of first lines, the same after a restart; and kinds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oddlot.decode.intern import SkuTable
from oddlot.decode.reading import Kinds
from oddlot.engine.compiled import IS_COMPILED
from oddlot.schema import LINE, Lines

CODE = st.text("AZaz09é\u212a ", min_size=1, max_size=20) | st.sampled_from(
    (
        *("POST", "post", "Post", "POSTS", "POS", "m", "M", "gift_0001_20", "GIFT_0001_", "K"),
        *("straße", "STRASSE", "ÉTÉ", "été", "\u212a", "bank charges", "x" * 16, "x" * 17, "C2"),
    )
)
KINDS = st.sampled_from(
    [
        Kinds(),
        Kinds(return_prefixes=(), charge_skus=(), charge_prefixes=()),
        Kinds(return_prefixes=("",), charge_skus=("ÉTÉ", "K"), charge_prefixes=("stra", "é")),
        Kinds(return_prefixes=("C", "RET-", "é"), charge_skus=("Straße",), charge_prefixes=("",)),
    ]
)
ROW = st.tuples(
    CODE,
    st.sampled_from(["", "C1", "536365", "RET-1", "RET", "é1", "c1"]),
    st.sampled_from([-5, 0, 5]),
    st.sampled_from([0.0, -0.0, 2.5, float("nan")]),
    st.sampled_from(["", "17850"]),
)


def make_lines(rows: list[tuple[str, str, int, float, str]]) -> Lines:
    line = np.zeros(len(rows), LINE)
    text = bytearray()
    for row, (sku, invoice, quantity, price, customer) in zip(line, rows, strict=True):
        row["text"], at = len(text), 0
        row["quantity"], row["price"], row["sku"] = quantity, price, -1
        for name, value in (("sku", sku), ("invoice", invoice), ("customer", customer)):
            row[f"{name}_at"], row[f"{name}_size"] = at, len(value.encode())
            text += value.encode()
            at += len(value.encode())
    return Lines(line, np.frombuffer(bytes(text) + bytes(64), np.uint8).copy())


@given(st.lists(st.lists(ROW, max_size=40), max_size=4), KINDS)
@settings(max_examples=150 if IS_COMPILED else 10, deadline=None)
def test_numbers_follow_first_lines_and_kinds_follow_the_rules(
    batches: list[list[tuple[str, str, int, float, str]]], kinds: Kinds
) -> None:
    table = SkuTable(kinds)
    known: dict[str, int] = {}
    for rows in batches:
        lines = make_lines(rows)
        table.intern(lines)
        for row in rows:
            known.setdefault(row[0], len(known))
        assert lines.line["sku"].tolist() == [known[row[0]] for row in rows]
        want = [kinds.kind(invoice, sku, q, price, who) for sku, invoice, q, price, who in rows]
        assert lines.line["kind"].tolist() == want
        saved = table.save()
        table = SkuTable(kinds)
        table.restore({name: array.copy() for name, array in saved.items()})
    assert [table.code(sku) for sku in range(table.count)] == list(known)


def test_many_skus_are_told_apart() -> None:
    count = 100_000 if IS_COMPILED else 5_000
    codes = [f"{i:x}" if i % 3 else f"a-long-code-that-differs-late-{i}" for i in range(count)]
    table = SkuTable(Kinds())
    lines = make_lines([(code, "", 1, 1.0, "") for code in codes])
    table.intern(lines)
    assert lines.line["sku"].tolist() == list(range(count))
    lines.line["sku"] = -1
    table.intern(lines)
    assert lines.line["sku"].tolist() == list(range(count))
    assert table.count == count
    assert table.code(count - 1) == codes[-1]


def test_a_long_code_is_kept_whole() -> None:
    table = SkuTable(Kinds())
    codes = ["x" * 65_535, "x" * 65_534 + "y", "x" * 65_534]
    for code in codes * 2:
        table.intern(make_lines([(code, "", 1, 1.0, "")]))
    assert [table.code(sku) for sku in range(table.count)] == codes
