"""Packs hold every record once, in order, within their size; whoever unpacks finds the keys."""

from __future__ import annotations

import hashlib
import itertools
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from oddlot.agent.follow import Block
from oddlot.agent.packing import LANES, Entry, Packer, find_lane, random_key
from oddlot.streams import kpl

some_records = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 200)), min_size=1)
aggregations = st.sampled_from(["none", "ndjson", "kpl"])


def make(aggregation: str, *, has_keys: bool = True, most: int = 500) -> Packer:
    chance = random.Random(1)

    def choose() -> tuple[str, int]:
        key = random_key(chance)
        return key, find_lane(key)

    return Packer(aggregation, most, has_keys=has_keys, choose=choose)


def block() -> Block:
    return Block(("", ""), "", 0, 0, 0)


def lines_of(entry: Entry) -> list[bytes]:
    inside = kpl.unpack(entry.data)
    datas = [entry.data] if inside is None else [data for _, data in inside]
    return [line + b"\n" for data in datas for line in data.split(b"\n")[:-1]]


@given(
    records=some_records, aggregation=aggregations, is_keyed=st.booleans(), has_keys=st.booleans()
)
def test_every_record_is_packed_once_in_order_and_counted(
    records: list[tuple[str, int]], aggregation: str, is_keyed: bool, has_keys: bool
) -> None:
    packer = make(aggregation if has_keys or aggregation != "kpl" else "none", has_keys=has_keys)
    lines = [
        b"%s %d %s\n" % (key.encode(), n, b"x" * size) for n, (key, size) in enumerate(records)
    ]
    blocks = [block(), block()]
    half = len(lines) // 2
    for one, part, keys in (
        (blocks[0], lines[:half], [key for key, _ in records[:half]]),
        (blocks[1], lines[half:], [key for key, _ in records[half:]]),
    ):
        packer.add(one, part, keys if is_keyed else None)
    packer.end(0)
    assert packer.held == 0
    packed = [line for entry in packer.ready for line in lines_of(entry)]
    assert sorted(packed) == sorted(lines)
    for key in "abcdefgh" if is_keyed else "":
        own = [line for line in packed if line.startswith(key.encode())]
        assert own == [line for line in lines if line.startswith(key.encode())]
    for entry in packer.ready:
        assert len(entry.data) <= 500 or entry.lines == 1
        assert entry.lines == len(lines_of(entry))
        assert bool(entry.key) == has_keys
        assert 0 <= entry.lane < LANES
        for one, parts in entry.blocks:
            one.waiting -= parts
    assert [one.waiting for one in blocks] == [1, 1]


@given(sizes=st.lists(st.integers(1, 900), min_size=1), cuts=st.lists(st.integers(0, 100)))
def test_lines_that_nobody_looks_at_are_packed_the_same(sizes: list[int], cuts: list[int]) -> None:
    lines = [b"x" * size + b"\n" for size in sizes]
    packer = make("ndjson")
    edges = sorted({0, len(lines), *(cut % (len(lines) + 1) for cut in cuts)})
    blocks = []
    for begin, end in itertools.pairwise(edges):
        one = block()
        one.data = b"".join(lines[begin:end])
        packer.add_text(one)
        blocks.append(one)
    packer.end(0)
    assert packer.held == 0
    assert b"".join(entry.data for entry in packer.ready) == b"".join(lines)
    for entry in packer.ready:
        assert len(entry.data) <= 500 or entry.lines == 1
        assert entry.lines == entry.data.count(b"\n")
        for one, parts in entry.blocks:
            one.waiting -= parts
    assert [one.waiting for one in blocks] == [1] * len(blocks)


@given(records=some_records)
def test_a_consumer_that_checks_hash_keys_keeps_every_packed_record(
    records: list[tuple[str, int]],
) -> None:
    # Amazon's consumer library drops a record whose hash key is not in the shard it came by.
    packer = make("kpl")
    packer.add(block(), [b"x" * size for _, size in records], [key for key, _ in records])
    packer.end(0)
    for entry in packer.ready:
        if len(lines := kpl.unpack(entry.data) or []) > 1:
            assert entry.hash_key.encode() in entry.data
            for key, _ in lines:
                assert find_lane(key) == int(entry.hash_key) >> 122 == entry.lane


def test_a_lane_is_where_kinesis_puts_a_key() -> None:
    for key in ("85123A", "☕", "x" * 256):
        number = int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest())
        assert find_lane(key) == number * LANES >> 128


def test_a_pack_waits_until_it_is_old_or_full() -> None:
    packer = make("ndjson")
    one = block()
    one.born_us = 100
    packer.add(one, [b"1\n"], None)
    packer.end(99)
    assert not packer.ready
    packer.end(100)
    assert [entry.data for entry in packer.ready] == [b"1\n"]


@pytest.mark.parametrize("aggregation", ["none", "ndjson"])
def test_firehose_gets_no_keys(aggregation: str) -> None:
    packer = make(aggregation, has_keys=False)
    packer.add(block(), [b"1\n", b"2\n"], None)
    packer.end(0)
    assert {(entry.key, entry.lane, entry.hash_key) for entry in packer.ready} == {("", 0, "")}
