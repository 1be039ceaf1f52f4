"""The scan of JSON Lines: what json says, few records left to the slow path."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decode_twin
from oddlot.decode.decoder import Decoder, _workspace
from oddlot.decode.reading import Reading
from oddlot.decode.scan_json import learn
from oddlot.engine.compiled import IS_COMPILED

COLUMNS = {
    "sku": "sku", "quantity": "quantity", "time": "time", "price": "price", "customer": "who"
}  # fmt: skip
READING = Reading("jsonl", COLUMNS, ())
RECORD = {"sku": "22423", "quantity": 6, "time": "2010-12-01 08:26", "price": 2.5, "who": "17850"}
RAW = st.sampled_from(
    (
        *("6", "-6", "007", "0", "0.5", "5.", ".5", "1e3", "-0", "null", "nul", "true", '"6"'),
        *('"x\\n"', '"2010-12-01 08:26"', "1293840000", "1293840000000", '"é"', '""', "1.5.5"),
        *("--1", "[1]", "-", '"1293840000"', "123456789012345678901234567890", "12345678"),
        *("1234567.8", '"a" ', "{}"),
    )
)


def count_odd(data: bytes) -> tuple[int, int]:
    """Return how many lines a scan finds, and how many it leaves to the slow path."""
    decoder = Decoder(READING, "orders", 0)
    _workspace.text[: len(data)] = np.frombuffer(data, np.uint8)
    _workspace.text[len(data) : len(data) + 64] = 0
    lines, odd, *_ = decoder._scan(0, len(data), is_last=True)
    return lines, odd


@given(st.lists(st.dictionaries(st.sampled_from(list(RECORD)), RAW), max_size=6))
@settings(max_examples=150 if IS_COMPILED else 10, deadline=None)
def test_values_are_those_of_json(changes: list[dict[str, str]]) -> None:
    plain = {key: json.dumps(value) for key, value in RECORD.items()}
    lines = []
    for change in [{}, *changes]:
        pairs = (plain | change).items()
        lines.append("{" + ",".join(f'"{key}":{raw}' for key, raw in pairs) + "}\n")
    data = "".join(lines).encode()
    assert not decode_twin.difference(data, READING, [data], restarts=False)


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        RECORD | {"who": None},
        RECORD | {"who": 17850},
        RECORD | {"quantity": "6", "price": "2.5"},
        RECORD | {"time": 1_293_840_000},
        RECORD | {"time": 1_293_840_000_123},
        RECORD | {"who": "x" * 200},
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_plain_records_need_no_slow_path(
    record: dict[str, object], separators: tuple[str, str], end: str
) -> None:
    first = json.dumps(RECORD, separators=separators) + end
    data = (first + json.dumps(record, separators=separators) + end).encode()
    assert count_odd(data) == (2, 0)
    assert not decode_twin.difference(data, READING, [data], restarts=False)


@pytest.mark.parametrize(
    "record",
    [
        *(b'{"a":1,"a":2}', b'{"a":"\\n"}', b'{"a":[1]}', b'{"a":true}', b"{}", b"[1]", b""),
        *(b'{"a":1', b'{"a":1}x', b'{"a" 1}', b'"a":1}', b'{"a":1,}', b'{"a":1 "b":2}'),
        *(b'{"\xe9":1}', b'{"a":"\t"}'),
    ],
)  # fmt: skip
def test_nothing_is_learnt_from_an_odd_record(record: bytes) -> None:
    assert learn(record, {"sku": "a"}) is None


def test_a_key_that_looks_like_a_separator_is_a_key() -> None:
    columns = {"sku": ",", "quantity": ":", "time": "}"}
    record = {"}": "2010-12-01 08:26", ",": "s", ":": 5}
    data = (json.dumps(record) + "\n").encode() * 3
    reading = Reading("jsonl", columns, ())
    assert not decode_twin.difference(data, reading, [data], restarts=False)


def test_records_may_change_how_they_are_built() -> None:
    one = json.dumps(RECORD) + "\n"
    other = json.dumps(dict(reversed(RECORD.items()))) + "\n"
    data = (one * 20 + other * 60 + one).encode()
    chunks = [data[i : i + 400] for i in range(0, len(data), 400)]
    assert not decode_twin.difference(data, READING, chunks, restarts=False)
