"""Numbers and times in the fast path: what the slow path makes of the same text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import decode_twin
from oddlot.decode.reading import Reading
from oddlot.engine.compiled import IS_COMPILED

COLUMNS = {"sku": "sku", "quantity": "quantity", "time": "time", "price": "price"}
HEADER = ("sku", "quantity", "time", "price")
NUMBER = st.text("0123456789.-+ ", max_size=11) | st.from_regex(
    r"[+-]?[0-9]{0,17}(\.[0-9]{0,17})?", fullmatch=True
)
ISO = st.from_regex(
    r"[12][0-9]{3}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?Z?", fullmatch=True
)
LOCAL = st.from_regex(
    r"[0-3]?[0-9]/[0-3]?[0-9]/[12][0-9]{3} [0-2]?[0-9]:[0-6][0-9](:[0-6][0-9])?", fullmatch=True
)
ODD_TIME = st.text("0123456789-/:T Z.", max_size=20)


@given(
    st.lists(
        st.tuples(NUMBER | st.just("6"), ISO | LOCAL | ODD_TIME, NUMBER | st.just("2.5")),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(["iso", "month-first", "day-first"]),
)
@settings(max_examples=80 if IS_COMPILED else 10, deadline=None)
def test_values_are_those_of_the_slow_path(rows: list[tuple[str, str, str]], dates: str) -> None:
    reading = Reading("csv", COLUMNS, HEADER, dates=dates)
    # Each value once among plain ones, so that an odd neighbour hides nothing.
    time = "2010-12-01 08:26"
    lines = []
    for quantity, moment, price in rows:
        lines += [("s", quantity, time, "2.5"), ("s", "6", moment, "2.5"), ("s", "6", time, price)]
    data = "".join(",".join(line) + "\n" for line in lines).encode()
    assert not decode_twin.difference(data, reading, [data], restarts=False)


@given(st.integers(0, 10**8 - 1), st.integers(0, 8))
@settings(max_examples=100 if IS_COMPILED else 10, deadline=None)
def test_prices_are_rounded_as_float_rounds_them(digits: int, decimals: int) -> None:
    text = f"{digits:0{decimals + 1}d}"
    price = text[: len(text) - decimals] + "." + text[len(text) - decimals :]
    reading = Reading("csv", COLUMNS, HEADER)
    data = f"s,6,2010-12-01 08:26,{price}\n".encode()
    assert not decode_twin.difference(data, reading, [data], restarts=False)
